"""``userops benchmark predict``: raw scores, ours beside LightGBM's ``predict`` and scikit-learn's wrapper of it.

A synthetic booster of 300 trees x 63 leaves x 60 features, and every booster of the release in force, when there is
one. All take turns on the same rows; a bit that differs from LightGBM's is an error. ``rows_per_second`` counts
processor time of one thread, so that other work on the machine does not; ``lightgbm_all_cores`` is on the clock.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np

from configs import Config
from configs.errors import FeatureError
from features.benchmark_report import Progress, clock, report, spread
from serving.benchmark_boosters import Floats, boosters, rows_around
from serving.benchmark_plain_service import as_classifier
from serving.scoring.margins import Margins

__all__ = ["benchmark_predict"]


def benchmark_predict(
    config: Config,
    progress: Progress | None = None,
    *,
    trees: int = 300,
    leaves: int = 63,
    features: int = 60,
    rows: int = 100_000,
    turns: int = 200,
) -> dict[str, Any]:
    """Microseconds to score one row, rows per second of ``rows`` at once; ``ratios`` above 1: ours is faster.

    Raises
    ------
    FeatureError
        When a raw score is not LightGBM's, bit for bit.
    """
    started = time.monotonic()
    random = np.random.default_rng(config.seed)
    metrics: dict[str, Any] = {}
    baselines: dict[str, dict[str, float]] = {"lightgbm": {}, "lightgbm_all_cores": {}, "sklearn_wrapper": {}}
    ratios: dict[str, float] = {}
    sizes: dict[str, str] = {}
    for name, suffix, booster in boosters(config, random, (trees, leaves, features), progress, "scoring with"):
        if (margins := Margins.of(booster)) is None:
            sizes[name] = "left to LightGBM"
            continue
        x = np.resize(rows_around(booster, min(rows, 5_000), random), (rows, booster.num_feature()))
        if not np.array_equal(margins(x), _lightgbm(booster, 1)(x)):
            raise FeatureError(f"{name}: our raw scores are not LightGBM's", expected="equal bits")
        sizes[name] = f"{booster.num_trees()} trees, {x.shape[1]} features"
        one, many = f"one_row_microseconds{suffix}", f"rows_per_second{suffix}"
        taken = _one_row(margins, booster, x, turns)
        metrics[one] = spread([1e6 * seconds for seconds in taken["ours"]])
        for way in ("lightgbm", "sklearn_wrapper"):
            baselines[way][one] = 1e6 * statistics.median(taken[way])
        ratios[f"ours_vs_lightgbm_one_row{suffix}"] = baselines["lightgbm"][one] / metrics[one]["value"]
        rates = _many_rows(margins, booster, x)
        metrics[many] = spread(rates["ours"])
        for way in ("lightgbm", "lightgbm_all_cores"):
            baselines[way][many] = statistics.median(rates[way])
        ratios[f"ours_vs_lightgbm{suffix}"] = metrics[many]["value"] / baselines["lightgbm"][many]
    settings = {"trees": trees, "leaves": leaves, "rows": rows, "turns": turns, "boosters": sizes}
    libraries = ("lightgbm", "numba", "numpy", "scikit-learn")
    return report("predict", metrics, baselines, ratios, settings, libraries, started)


def _lightgbm(booster: lgb.Booster, threads: int) -> Callable[[Floats], Floats]:
    return lambda x: np.asarray(booster.predict(x, raw_score=True, num_iteration=-1, num_threads=threads))


def _one_row(margins: Margins, booster: lgb.Booster, x: Floats, turns: int) -> dict[str, list[float]]:
    """Seconds of row after row; the wrapper is given a frame, as those who use it do, and gives a probability."""
    import pandas as pd

    classifier, names = as_classifier(booster), booster.feature_name()
    ways: dict[str, Callable[[Floats], Any]] = {
        "ours": margins,
        "lightgbm": _lightgbm(booster, 1),
        "sklearn_wrapper": lambda row: classifier.predict_proba(pd.DataFrame(row, columns=names), num_threads=1),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(turns):
        row = x[turn % len(x)][None]
        for way, score in ways.items():
            with clock(taken[way]):
                score(row)
    return taken


def _many_rows(margins: Margins, booster: lgb.Booster, x: Floats) -> dict[str, list[float]]:
    """Rows per second of all rows at once, three times."""
    ways: dict[str, tuple[Callable[[Floats], Floats], Callable[[], float]]] = {
        "ours": (margins, time.process_time),
        "lightgbm": (_lightgbm(booster, 1), time.process_time),
        "lightgbm_all_cores": (_lightgbm(booster, os.cpu_count() or 1), time.perf_counter),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(3):
        for way, (score, now) in ways.items():
            taken: list[float] = []
            with clock(taken, now):
                score(x)
            rates[way].append(len(x) / max(taken[0], 1e-9))
    return rates
