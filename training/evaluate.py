"""How good are probabilities? Metrics with 95 % intervals from resampled users (`training.resample`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.resample import Interval, resample

__all__ = ["Contact", "Interval", "Scored", "calibration_curve", "evaluate", "lift", "metrics_of"]

_EPSILON = 1e-15
_BINS = 10
SHARES = (0.05, 0.1, 0.2)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contact:
    """A budget: the best-scored ``share`` of users is contacted at ``cost`` each.

    A contact is worth ``worth`` when the user's label is 1, and nothing otherwise.
    """

    share: float = 0.1
    worth: float = 10.0
    cost: float = 1.0

    @property
    def metric(self) -> str:
        """The name of its metric: the expected value per 1,000 users."""
        return f"value@{self.share * 100:g}"


def metrics_of(
    label: ArrayLike, probability: ArrayLike, score: ArrayLike | None = None, weight: ArrayLike | None = None
) -> dict[str, float]:
    """AUROC, average precision, log-loss, Brier, ECE (10 bins of equal size), lift at 5, 10 and 20 %, means.

    Rows of one score have no order among them: AUROC counts ties half, and a share that ends among equals takes the
    same part of each of them.

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
    >>> m["auroc"], round(m["pr_auc"], 4), round(m["log_loss"], 4), m["lift@20"]
    (0.75, 0.8333, 0.4723, 2.0)
    """
    return Scored(label, probability, score).metrics(None if weight is None else np.asarray(weight, float))


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
    ours = {"ours": Scored(label, probability, score).metrics}
    return resample(ours, users, resamples, seed).intervals("ours")


def lift(label: ArrayLike, score: ArrayLike, share: float) -> float:
    """How many times the base rate is found among the best ``share`` of rows.

    Examples
    --------
    >>> lift([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3], 0.25)
    4.0
    """
    scored = Scored(label, score)
    base = float(scored.y.mean())
    return scored.found(np.ones(len(scored.y)), share) / (share * base) if base > 0 else float("nan")


def calibration_curve(label: ArrayLike, probability: ArrayLike, bins: int = _BINS) -> list[Mapping[str, float]]:
    """Mean prediction and observed rate in ``bins`` groups of equal size, lowest first."""
    y, p = np.asarray(label, float), np.asarray(probability, float)
    groups = np.array_split(np.argsort(p, kind="stable"), min(bins, len(p)))
    return [{"mean_prediction": float(p[g].mean()), "rate": float(y[g].mean()), "rows": float(len(g))} for g in groups]


class Scored:
    """One forecast of many rows, sorted once, so that each resample costs one pass.

    Parameters
    ----------
    label, probability, score
        As those of `metrics_of`.
    contact
        Adds ``value@SHARE``, the expected value of this budget per 1,000 users.
    """

    def __init__(
        self, label: ArrayLike, probability: ArrayLike, score: ArrayLike | None = None, contact: Contact | None = None
    ) -> None:
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
        self.contact = contact

    def metrics(self, weight: Floats | None) -> dict[str, float]:
        """The metrics of `metrics_of`, of rows counted ``weight`` times each, in the order they were given."""
        w = np.ones_like(self.y) if weight is None else weight[self.order]
        total = w.sum()
        base = float((w * self.y).sum() / total)
        steps = self._steps(w)
        auroc, pr_auc = _ranked(*steps)
        found = {
            "auroc": auroc,
            "pr_auc": pr_auc,
            "log_loss": float((w * self.losses).sum() / total),
            "brier": float((w * self.squares).sum() / total),
            "ece": self._ece(w),
            "mean_prediction": float((w * self.p).sum() / total),
            "base_rate": base,
        }
        for share in SHARES:
            rate = _found(*steps, share) / share
            found[f"lift@{share * 100:g}"] = rate / base if base > 0 else float("nan")
        if self.contact:
            worth = self.contact.worth * _found(*steps, self.contact.share)
            found[self.contact.metric] = 1000 * (worth - self.contact.cost * self.contact.share)
        return found

    def found(self, w: Floats, share: float) -> float:
        """Of all rows, those with the label among the best ``share``: in [0, min(share, base rate)]."""
        return _found(*self._steps(w), share)

    def _steps(self, w: Floats) -> tuple[Floats, Floats]:
        """Rows with and without the label at each distinct score, highest first."""
        one = np.add.reduceat(w * self.y, self.tie_starts)[::-1]
        return one, np.add.reduceat(w * (1 - self.y), self.tie_starts)[::-1]

    def _ece(self, w: Floats) -> float:
        y, p, w = self.y[self.by_probability], self.p[self.by_probability], w[self.by_probability]
        reached = np.cumsum(w)
        edges = np.minimum((reached - w / 2) / reached[-1] * _BINS, _BINS - 1).astype(int)
        gap = np.bincount(edges, w * (p - y), _BINS)
        return float(np.abs(gap).sum() / reached[-1])


def _ranked(positives: Floats, negatives: Floats) -> tuple[float, float]:
    """AUROC and average precision."""
    ones, zeros = positives.sum(), negatives.sum()
    if ones == 0 or zeros == 0:
        return float("nan"), float("nan")
    hit, missed = np.cumsum(positives), np.cumsum(negatives)
    auroc = float((positives * (zeros - missed + negatives / 2)).sum() / (ones * zeros))
    seen = hit + missed
    precision = np.divide(hit, seen, out=np.zeros_like(hit), where=seen > 0)
    return auroc, float((positives * precision).sum() / ones)


def _found(positives: Floats, negatives: Floats, share: float) -> float:
    hit = np.concatenate([[0.0], np.cumsum(positives)])
    seen = np.concatenate([[0.0], np.cumsum(positives + negatives)])
    return float(np.interp(share * seen[-1], seen, hit) / seen[-1])
