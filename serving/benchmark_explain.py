"""``userops benchmark explain``: exact reasons, ours beside LightGBM's ``pred_contrib`` and ``shap.TreeExplainer``.

A synthetic booster of 300 trees x 63 leaves x 60 features, and every booster of the release in force, when there is
one. The three take turns on the same rows, in one thread, and what counts is processor time, so that other work on the
machine does not; a number that is not ``pred_contrib``'s is an error.
"""

from __future__ import annotations

import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs import Config
from configs.errors import BundleError, FeatureError
from serving.scoring import Bundle, current
from serving.scoring.folder import read_folder
from serving.scoring.forest import read_forest
from serving.scoring.treeshap import TreeShap

__all__ = ["benchmark_explain", "released", "rows_around", "synthetic"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]

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
    boosters = {"synthetic": synthetic(random, trees, leaves, features), **dict(released(config))}
    metrics: dict[str, Any] = {}
    baselines: dict[str, Any] = {way: {} for way in WAYS[1:]}
    ratios: dict[str, float] = {}
    sizes: dict[str, str] = {}
    for number, (name, booster) in enumerate(boosters.items()):
        if progress:
            progress(f"explaining {name}", number / len(boosters))
        x = rows_around(booster, rows, random)
        explainers = _explainers(booster)
        if explainers is None:
            sizes[name] = "left to pred_contrib"
            continue
        worst = float(np.abs(explainers["ours"](x[:40]) - explainers["pred_contrib"](x[:40])).max())
        if worst > 1e-9:
            raise FeatureError(f"{name}: our reasons are not those of pred_contrib", got=worst, expected="at most 1e-9")
        sizes[name] = f"{booster.num_trees()} trees, {x.shape[1]} features, largest difference {worst:.1e}"
        suffix = "" if name == "synthetic" else f"_{name}"
        for many, taken in (("", _one_row(explainers, x, turns)), (f"_{rows}", _all_rows(explainers, x))):
            metrics[f"microseconds_per_row{many}{suffix}"] = _spread(taken["ours"])
            for way in WAYS[1:]:
                baselines[way][f"microseconds_per_row{many}{suffix}"] = statistics.median(taken[way])
                ratio = statistics.median(taken[way]) / statistics.median(taken["ours"])
                ratios[f"ours_vs_{way}{many}{suffix}"] = ratio
    return {
        "benchmark": "explain",
        "metrics": metrics,
        "baselines": baselines,
        "ratios": ratios,
        "settings": {"trees": trees, "leaves": leaves, "rows": rows, "turns": turns, "boosters": sizes},
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in ("lightgbm", "llvmlite", "numpy", "shap")},
        },
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def synthetic(random: np.random.Generator, trees: int, leaves: int, features: int) -> lgb.Booster:
    """A booster learned from noise with an order in it."""
    x = random.normal(size=(10_000, features))
    x[random.random(x.shape) < 0.1] = np.nan
    y = np.nansum(x[:, :10] * random.normal(size=min(10, features)), axis=1) + random.normal(size=len(x)) > 0
    params = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05, "verbose": -1, "num_threads": 1}
    return lgb.train(params, lgb.Dataset(x, y), trees)


def released(config: Config) -> Iterator[tuple[str, lgb.Booster]]:
    """Every booster of users of the release in force, by model and name; none without a release."""
    try:
        folder = current(config.home / "releases")
    except BundleError:
        return
    bundle = Bundle.load(folder)
    for name in bundle.meta["models"]:
        for booster, own in read_folder(folder / name).boosters.items():
            yield f"{name}_{booster}", own


def rows_around(booster: lgb.Booster, rows: int, random: np.random.Generator) -> Floats:
    """Rows around the booster's own thresholds, one value in twenty absent."""
    forest = read_forest(booster.model_to_string(num_iteration=-1))
    x = random.normal(size=(rows, forest.width))
    for feature in range(forest.width):
        thresholds = forest.node["threshold"][forest.node["feature"] == feature]
        if len(thresholds):
            x[:, feature] = random.choice(thresholds, rows) * random.uniform(0.9, 1.1, rows)
    x[random.random(x.shape) < 0.05] = np.nan
    return x


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
            began = time.process_time()
            explain(one)
            taken[way].append(1e6 * (time.process_time() - began))
    return taken


def _all_rows(explainers: dict[str, Callable[[Floats], Floats]], x: Floats) -> dict[str, list[float]]:
    """Microseconds per row of all rows at once."""
    taken: dict[str, list[float]] = {way: [] for way in explainers}
    for way, explain in explainers.items():
        for _ in range(5 if way == "ours" else 1):
            began = time.process_time()
            explain(x)
            taken[way].append(1e6 * (time.process_time() - began) / len(x))
    return taken


def _spread(values: list[float]) -> dict[str, Any]:
    """The median, and the range of nine tenths."""
    low, high = np.quantile(values, [0.05, 0.95])
    return {"value": statistics.median(values), "ci": [float(low), float(high)]}
