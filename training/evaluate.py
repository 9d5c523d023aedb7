"""How good are probabilities? Metrics with 95 % intervals from resampled users.

Rows of one user at several origins are not independent, so the bootstrap draws users, not rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Interval", "calibration_curve", "evaluate", "lift", "metrics_of"]

_EPSILON = 1e-15
_BINS = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval ``[low, high]``."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, object]:
        """The form that every benchmark writes: ``{"value": x, "ci": [low, high]}``."""
        return {"value": self.value, "ci": [self.low, self.high]}


@dataclass(frozen=True)
class _Metrics:
    auroc: float
    log_loss: float
    brier: float
    ece: float
    mean_prediction: float
    base_rate: float


def metrics_of(
    label: ArrayLike, probability: ArrayLike, score: ArrayLike | None = None, weight: ArrayLike | None = None
) -> dict[str, float]:
    """AUROC (of ``score``, ties count half), log-loss, Brier, ECE (10 bins of equal size), means.

    Parameters
    ----------
    label
        0 or 1, shape (n,).
    probability
        In [0, 1], shape (n,).
    score
        What orders the rows; the probability when absent. A calibrator may make ties, the raw score does not.
    weight
        How often each row counts; 1 when absent.

    Examples
    --------
    >>> m = metrics_of([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> m["auroc"], round(m["log_loss"], 4)
    (0.75, 0.4723)
    """
    return asdict(_Prepared(label, probability, score).metrics(None if weight is None else np.asarray(weight, float)))


def evaluate(
    label: ArrayLike,
    probability: ArrayLike,
    users: ArrayLike,
    score: ArrayLike | None = None,
    *,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each metric of `metrics_of` with the 2.5 and 97.5 % points of ``resamples`` draws of users."""
    prepared = _Prepared(label, probability, score)
    point = asdict(prepared.metrics(None))
    codes, user_count = _codes(users)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in point}
    for _ in range(resamples):
        counts = np.bincount(rng.integers(0, user_count, user_count), minlength=user_count).astype(float)
        for name, value in asdict(prepared.metrics(counts[codes])).items():
            drawn[name].append(value)
    bounds = {name: np.nanpercentile(values, [2.5, 97.5]) for name, values in drawn.items()}
    return {name: Interval(point[name], float(bounds[name][0]), float(bounds[name][1])) for name in point}


def lift(label: ArrayLike, score: ArrayLike, share: float) -> float:
    """How many times the base rate is found among the best ``share`` of rows.

    Examples
    --------
    >>> lift([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3], 0.25)
    4.0
    """
    y, s = np.asarray(label, float), np.asarray(score, float)
    top = max(1, round(len(y) * share))
    best = np.argsort(-s, kind="stable")[:top]
    return float(y[best].mean() / y.mean()) if y.mean() > 0 else float("nan")


def calibration_curve(label: ArrayLike, probability: ArrayLike, bins: int = _BINS) -> list[Mapping[str, float]]:
    """Mean prediction and observed rate in ``bins`` groups of equal size, lowest first."""
    y, p = np.asarray(label, float), np.asarray(probability, float)
    groups = np.array_split(np.argsort(p, kind="stable"), min(bins, len(p)))
    return [{"mean_prediction": float(p[g].mean()), "rate": float(y[g].mean()), "rows": float(len(g))} for g in groups]


def _codes(users: ArrayLike) -> tuple[NDArray[np.intp], int]:
    unique, codes = np.unique(np.asarray(users), return_inverse=True)
    return codes, len(unique)


class _Prepared:
    """Sorted once, so that each resample costs one pass."""

    def __init__(self, label: ArrayLike, probability: ArrayLike, score: ArrayLike | None) -> None:
        y = np.asarray(label, float)
        p = np.asarray(probability, float)
        s = p if score is None else np.asarray(score, float)
        order = np.argsort(s, kind="stable")
        self.order = order
        self.y, self.p = y[order], p[order]
        clipped = np.clip(self.p, _EPSILON, 1 - _EPSILON)
        self.losses = -np.where(self.y == 1, np.log(clipped), np.log1p(-clipped))
        self.squares = (self.p - self.y) ** 2
        _, self.tie_starts = np.unique(s[order], return_index=True)
        self.by_probability = np.argsort(self.p, kind="stable")

    def metrics(self, weight: Floats | None) -> _Metrics:
        w = np.ones_like(self.y) if weight is None else weight[self.order]
        total = w.sum()
        return _Metrics(
            auroc=self._auroc(w),
            log_loss=float((w * self.losses).sum() / total),
            brier=float((w * self.squares).sum() / total),
            ece=self._ece(w),
            mean_prediction=float((w * self.p).sum() / total),
            base_rate=float((w * self.y).sum() / total),
        )

    def _auroc(self, w: Floats) -> float:
        positives = np.add.reduceat(w * self.y, self.tie_starts)
        negatives = np.add.reduceat(w * (1 - self.y), self.tie_starts)
        if positives.sum() == 0 or negatives.sum() == 0:
            return float("nan")
        below = np.cumsum(negatives) - negatives
        return float((positives * (below + negatives / 2)).sum() / (positives.sum() * negatives.sum()))

    def _ece(self, w: Floats) -> float:
        y, p, w = self.y[self.by_probability], self.p[self.by_probability], w[self.by_probability]
        reached = np.cumsum(w)
        edges = np.minimum((reached - w / 2) / reached[-1] * _BINS, _BINS - 1).astype(int)
        gap = np.bincount(edges, w * (p - y), _BINS)
        return float(np.abs(gap).sum() / reached[-1])
