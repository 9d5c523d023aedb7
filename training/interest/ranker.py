"""Learn to order items: boosters over user x item features whose mean log-odds is the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs.errors import TrainingError

__all__ = ["PARAMETERS", "Ranker", "fit_ranker"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 127,
    "verbose": -1,
}
TREES = 120
MOST_ROWS = 2_000_000


@dataclass(frozen=True)
class Ranker:
    """One or more boosters; `score` is the mean of their raw scores, log-odds of being bought."""

    boosters: tuple[lgb.Booster, ...]

    def score(self, x: NDArray[np.floating], threads: int = 1) -> Floats:
        """Log-odds float64[n] of rows x[n, f]."""
        if not len(x):
            return np.empty(0)
        answers = [booster.predict(x, raw_score=True, num_threads=threads) for booster in self.boosters]
        return np.asarray(np.mean(answers, axis=0), np.float64)


def fit_ranker(
    x: NDArray[np.floating],
    y: NDArray[np.bool_],
    weight: Floats | None,
    names: Sequence[str],
    *,
    seeds: Sequence[int] = (0, 1),
    threads: int = 1,
) -> Ranker:
    """Fit one booster a seed on all positives and, beyond `MOST_ROWS`, a weighted sample of the rest.

    Raises
    ------
    TrainingError
        No row, no positive or no negative.
    """
    if not y.any() or y.all():
        raise TrainingError(
            "nothing to order by", got=f"{int(y.sum())} bought of {len(y)} candidates", expected="some, and not all"
        )
    kept, share = sample_rows(y, MOST_ROWS, seeds[0])
    scale = np.where(y[kept], 1.0, 1.0 / share)
    rows = lgb.Dataset(
        x[kept],
        y[kept].astype(np.float32),
        weight=scale if weight is None else scale * weight[kept],
        params=PARAMETERS,
        feature_name=list(names),
    )
    boosters = [
        lgb.train({**PARAMETERS, "seed": seed, "num_threads": threads, "deterministic": True}, rows, TREES)
        for seed in seeds
    ]
    return Ranker(tuple(boosters))


def sample_rows(y: NDArray[np.bool_], most: int, seed: int) -> tuple[Ints, float]:
    """Rows to learn from, rising: all positives and this share of the negatives, about `most` in all."""
    share = min(1.0, max(most - int(y.sum()), 1) / max(int((~y).sum()), 1))
    if share == 1.0:
        return np.arange(len(y)), 1.0
    return np.flatnonzero(y | (np.random.default_rng(seed).random(len(y)) < share)), share
