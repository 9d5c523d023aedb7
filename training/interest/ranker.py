"""Learn to order items: boosters over user x item features whose mean log-odds is the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs.errors import TrainingError

__all__ = ["MOST_ROWS", "PARAMETERS", "TREES", "Ranker", "fit_ranker", "sample_rows"]

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
TREES = 250
MOST_ROWS = 1_500_000


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
    overrides: Mapping[str, Any] | None = None,
) -> Ranker:
    """Fit one booster a seed; the raw score is the mean of theirs.

    Parameters
    ----------
    weight
        Of each row, float64[n]: a negative that stands for ten weighs ten (see `sample_rows`).
    overrides
        LightGBM parameters in the place of `PARAMETERS`, and ``trees`` in the place of `TREES`.

    Raises
    ------
    TrainingError
        No row, no positive or no negative.
    """
    if not y.any() or y.all():
        raise TrainingError(
            "nothing to order by", got=f"{int(y.sum())} bought of {len(y)} candidates", expected="some, and not all"
        )
    chosen = {**PARAMETERS, "deterministic": True, **(overrides or {})}
    trees = int(chosen.pop("trees", TREES))
    rows = lgb.Dataset(x, y.astype(np.float32), weight=weight, params=chosen, feature_name=list(names))
    boosters = [lgb.train({**chosen, "seed": seed, "num_threads": threads}, rows, trees) for seed in seeds]
    return Ranker(tuple(boosters))


def sample_rows(y: NDArray[np.bool_], share: float, seed: int) -> tuple[Ints, Floats]:
    """Rows to learn from, rising, and their weights: all positives, and this share in (0, 1] of the negatives.

    >>> rows, weight = sample_rows(np.array([True, False]), 1.0, 0)
    >>> rows.tolist(), weight.tolist()
    ([0, 1], [1.0, 1.0])
    """
    rows = np.flatnonzero(y | (np.random.default_rng(seed).random(len(y)) < share))
    return rows, np.where(y[rows], 1.0, 1.0 / share)
