"""``userops benchmark explain``: exact reasons, ours beside LightGBM's ``pred_contrib`` and ``shap.TreeExplainer``.

A synthetic booster of 300 trees x 63 leaves x 60 features, and every booster of the release in force, when there is
one. The three take turns on the same rows, in one thread, and what counts is processor time, so that other work on the
machine does not; a number that is not ``pred_contrib``'s is an error.
"""

from __future__ import annotations

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
from serving.scoring.treeshap import TreeShap

__all__ = ["benchmark_explain"]

WAYS = ("ours", "pred_contrib", "shap")


def benchmark_explain(
    config: Config,
    progress: Progress | None = None,
    *,
    trees: int = 300,
    leaves: int = 63,
    features: int = 60,
    rows: int = 500,
    turns: int = 40,
) -> dict[str, Any]:
    """Microseconds to explain one row, and ``rows`` rows at once; ``ratios`` are theirs divided by ours.

    Raises
    ------
    FeatureError
        When our contributions are not those of ``pred_contrib`` to 1e-9.
    """
    started = time.monotonic()
    random = np.random.default_rng(config.seed)
    metrics: dict[str, Any] = {}
    baselines: dict[str, Any] = {way: {} for way in WAYS[1:]}
    ratios: dict[str, float] = {}
    sizes: dict[str, str] = {}
    for name, suffix, booster in boosters(config, random, (trees, leaves, features), progress, "explaining"):
        x = rows_around(booster, rows, random)
        explainers = _explainers(booster)
        if explainers is None:
            sizes[name] = "left to pred_contrib"
            continue
        worst = float(np.abs(explainers["ours"](x[:40]) - explainers["pred_contrib"](x[:40])).max())
        if not worst <= 1e-9:
            raise FeatureError(f"{name}: our reasons are not those of pred_contrib", got=worst, expected="at most 1e-9")
        sizes[name] = f"{booster.num_trees()} trees, {x.shape[1]} features, largest difference {worst:.1e}"
        for many, taken in (("", _one_row(explainers, x, turns)), (f"_{rows}", _all_rows(explainers, x))):
            metrics[f"microseconds_per_row{many}{suffix}"] = spread(taken["ours"])
            for way in WAYS[1:]:
                baselines[way][f"microseconds_per_row{many}{suffix}"] = statistics.median(taken[way])
                ratio = statistics.median(taken[way]) / statistics.median(taken["ours"])
                ratios[f"ours_vs_{way}{many}{suffix}"] = ratio
    settings = {"trees": trees, "leaves": leaves, "rows": rows, "turns": turns, "boosters": sizes}
    libraries = ("lightgbm", "llvmlite", "numpy", "shap")
    return report("explain", metrics, baselines, ratios, settings, libraries, started)


def _explainers(booster: lgb.Booster) -> dict[str, Callable[[Floats], Floats]] | None:
    import shap

    ours, stock = TreeShap.of(booster), shap.TreeExplainer(booster)
    if ours is None:
        return None
    return {
        "ours": lambda x: ours(x)[0],
        "pred_contrib": lambda x: np.asarray(booster.predict(x, pred_contrib=True, num_threads=1))[:, :-1],
        "shap": lambda x: np.asarray(stock.shap_values(x)),
    }


def _one_row(explainers: dict[str, Callable[[Floats], Floats]], x: Floats, turns: int) -> dict[str, list[float]]:
    """Microseconds for row after row."""
    taken: dict[str, list[float]] = {way: [] for way in explainers}
    for turn in range(turns):
        one = x[turn % len(x)][None]
        for way, explain in explainers.items():
            with clock(taken[way], time.process_time):
                explain(one)
    return {way: [1e6 * seconds for seconds in each] for way, each in taken.items()}


def _all_rows(explainers: dict[str, Callable[[Floats], Floats]], x: Floats) -> dict[str, list[float]]:
    """Microseconds per row of all rows at once."""
    taken: dict[str, list[float]] = {way: [] for way in explainers}
    for way, explain in explainers.items():
        for _ in range(5 if way == "ours" else 1):
            with clock(taken[way], time.process_time):
                explain(x)
    return {way: [1e6 * seconds / len(x) for seconds in each] for way, each in taken.items()}
