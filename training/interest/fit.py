"""From pairs to one head: a booster, a calibrator fitted on a later origin, and how far probabilities may be off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from configs.errors import TrainingError
from serving.scoring.calibrator import Calibrator, Sigmoid
from serving.scoring.interest.model import FEATURES
from training.interest.examples import Asked
from training.interest.ranker import PARAMETERS, fit_ranker

__all__ = ["SIZE", "FittedHead", "fit_head"]

Floats = NDArray[np.float64]

# Small enough to score 50 candidates in less than half a millisecond; larger ones were not better by more than what
# drawing other users changes.
SIZE: dict[str, Any] = {"trees": 120, "num_leaves": 15, "learning_rate": 0.06, "min_data_in_leaf": 100}
LEAST_POSITIVES = 30
AGAIN_ROWS = 20_000
# A head is right on average; by how much it may be off is measured in so many groups of equal numbers of buyers.
GROUPS, RESAMPLES = 8, 200


@dataclass(frozen=True)
class FittedHead:
    """A booster and its calibrator; ``interval`` is what `serving.scoring.interest.model.InterestHead` reads.

    ``again`` holds the same booster grown from other seeds.
    """

    head: str
    booster: lgb.Booster
    calibrator: Sigmoid
    interval: list[list[float]]
    log: dict[str, Any]
    again: Mapping[int, lgb.Booster] = field(default_factory=dict)

    def raw(self, x: NDArray[np.floating[Any]]) -> Floats:
        """The booster's margins in log-odds."""
        return np.asarray(self.booster.predict(x, raw_score=True), dtype=np.float64)


def fit_head(
    learn: Asked,
    later: Asked,
    seed: int,
    threads: int,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (),
) -> FittedHead:
    """Learn from ``learn``, calibrate on ``later``, whose origin lies after every label that was learned.

    From each of ``seeds`` the booster is grown again on `AGAIN_ROWS` other rows, and left uncalibrated.

    Raises
    ------
    TrainingError
        When either holds fewer than 30 purchases.
    """
    for what, zh, pairs in (("learn from", "学习", learn), ("calibrate on", "校准", later)):
        if pairs.y.sum() < LEAST_POSITIVES:
            raise TrainingError(
                f"{learn.head}: too few purchases to {what}",
                zh=f"{learn.head} 购买太少，无法{zh}：{len(pairs)} 对中有 {pairs.y.sum():.0f} 对购买，"
                f"至少需要 {LEAST_POSITIVES} 对",
                got=f"{pairs.y.sum():.0f} of {len(pairs)} pairs",
                expected=f"at least {LEAST_POSITIVES}",
                run="userops status",
            )
    params = {**PARAMETERS, **SIZE, **(overrides or {}), "force_row_wise": True}
    # A negative stands for those that were dropped: the booster learns the odds of all pairs.
    weight = np.where(learn.y > 0, 1.0, np.exp(learn.offset))
    ranker = fit_ranker(learn.x, learn.y > 0, weight, FEATURES, seeds=(seed,), threads=threads, overrides=params)
    booster = ranker.boosters[0]
    raw = np.asarray(booster.predict(later.x, raw_score=True), dtype=np.float64)
    calibrator = _platt(raw, later.y)
    log = {
        "rows": len(learn),
        "positives": int(learn.y.sum()),
        "users": len(np.unique(learn.user)),
        "trees": booster.num_trees(),
        "calibrated_on": {"rows": len(later), "positives": int(later.y.sum()), "users": len(later.user)},
        "slope": calibrator.slope,
        "params": params,
    }
    grown = {other: _again(learn, weight, other, threads, params) for other in seeds}
    again = {other: one for other, one in grown.items() if one is not None}
    return FittedHead(learn.head, booster, calibrator, _interval(raw, calibrator, later, seed), log, again)


def _again(learn: Asked, weight: Floats, seed: int, threads: int, params: Mapping[str, Any]) -> lgb.Booster | None:
    """The booster from another seed, on pairs that the seed draws; None when nobody bought any of them."""
    some = np.random.default_rng(seed).random(len(learn)) < AGAIN_ROWS / len(learn)
    x, bought = learn.x[some], learn.y[some] > 0
    if not bought.any() or bought.all():
        return None
    ranker = fit_ranker(x, bought, weight[some], FEATURES, seeds=(seed,), threads=threads, overrides=params)
    return ranker.boosters[0]


def _platt(raw: Floats, y: Floats) -> Sigmoid:
    """The slope and intercept of least log-loss; the slope has a normal prior around 1."""

    def loss(theta: Floats) -> tuple[float, Floats]:
        margin = theta[0] * raw + theta[1]
        error = expit(margin) - y
        value = np.logaddexp(0.0, margin).sum() - (y * margin).sum() + (theta[0] - 1) ** 2 / (2 * 0.1**2)
        gradient = np.array([(error * raw).sum() + (theta[0] - 1) / 0.1**2, error.sum()])
        return float(value) / len(y), gradient / len(y)

    start = np.array([1.0, float(np.log(y.mean() / (1 - y.mean())) - np.median(raw))])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.3, 3.0), (-30.0, 30.0)])
    return Sigmoid(float(found.x[0]), float(found.x[1]))


def _interval(raw: Floats, calibrator: Calibrator, pairs: Asked, seed: int) -> list[list[float]]:
    """By how much the log-odds may be off, down and up, at rising margins: users are drawn again, 95 % of the draws."""
    order = np.argsort(raw, kind="stable")
    bought = np.cumsum(pairs.y[order])
    group = np.empty(len(raw), dtype=np.int64)
    group[order] = np.minimum((bought - pairs.y[order]) * GROUPS / bought[-1], GROUPS - 1).astype(np.int64)
    users, user = np.unique(pairs.user_of, return_inverse=True)
    sums = np.hstack(
        [
            np.bincount(user * GROUPS + group, weight, len(users) * GROUPS).reshape(len(users), GROUPS)
            for weight in (pairs.y, calibrator(raw), np.ones(len(raw)))
        ]
    )
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(users), np.full(len(users), 1 / len(users)), size=RESAMPLES) @ sums
    seen, expected, count = (drawn[:, k * GROUPS : (k + 1) * GROUPS] + 0.5 for k in range(3))
    off = np.log(seen / (count + 0.5 - seen)) - np.log(expected / (count + 0.5 - expected))
    low, high = np.quantile(off, [0.025, 0.975], axis=0)
    at = np.bincount(group, raw, GROUPS) / np.maximum(np.bincount(group, minlength=GROUPS), 1)
    rows: list[list[float]] = []
    for margin, down, up in sorted(zip(at.tolist(), low.tolist(), high.tolist(), strict=True)):
        if not rows or margin > rows[-1][0]:
            rows.append([margin, min(down, 0.0), max(up, 0.0)])
    return rows
