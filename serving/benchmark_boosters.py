"""The boosters of ``userops benchmark explain`` and ``predict``: one learned from noise, and the released ones."""

from __future__ import annotations

from collections.abc import Iterator

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs import Config
from configs.errors import BundleError
from features.benchmark_report import Progress
from serving.scoring import Bundle, current
from serving.scoring.folder import read_folder
from serving.scoring.forest import read_forest

__all__ = ["SYNTHETIC", "Floats", "boosters", "rows_around", "synthetic"]

Floats = NDArray[np.float64]
SYNTHETIC = "synthetic"


def boosters(
    config: Config, random: np.random.Generator, size: tuple[int, int, int], progress: Progress | None, doing: str
) -> Iterator[tuple[str, str, lgb.Booster]]:
    """Each booster's name, what its metrics end with, and itself; ``size``: trees, leaves, features of the first."""
    found = {SYNTHETIC: synthetic(random, *size), **dict(_released(config))}
    for number, (name, booster) in enumerate(found.items()):
        if progress:
            progress(f"{doing} {name}", number / len(found))
        yield name, "" if name == SYNTHETIC else f"_{name}", booster


def synthetic(random: np.random.Generator, trees: int, leaves: int, features: int) -> lgb.Booster:
    """A booster learned from noise with an order in it."""
    x = random.normal(size=(10_000, features))
    x[random.random(x.shape) < 0.1] = np.nan
    y = np.nansum(x[:, :10] * random.normal(size=min(10, features)), axis=1) + random.normal(size=len(x)) > 0
    params = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05, "verbose": -1, "num_threads": 1}
    return lgb.train(params, lgb.Dataset(x, y), trees)


def _released(config: Config) -> Iterator[tuple[str, lgb.Booster]]:
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
