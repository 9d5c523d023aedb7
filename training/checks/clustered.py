"""Estimates from rows of which several belong to one user, with standard errors that know it.

Users, not rows, are independent: the squares of a standard error are summed over users. An estimate keeps what each row
contributed to it, so that estimates of the same rows can be subtracted with the right error: pairs are paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata, t

__all__ = ["Estimate", "auroc", "auroc_by", "clustered", "losses", "mean", "ratio_gap", "shift"]

Floats = NDArray[np.float64]

# A probability of exactly 0 or 1 that is wrong once would outweigh everything else.
EPSILON = 1e-6
STEPS = 50


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error, and the degrees of freedom of that error."""

    value: float
    error: float
    freedom: float

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """The two-sided interval that misses the truth with probability ``alpha``, by Student's t."""
        reach = float(t.ppf(1 - alpha / 2, max(self.freedom, 1.0))) * self.error
        return self.value - reach, self.value + reach

    def as_json(self, alpha: float = 0.05) -> dict[str, object]:
        """``{"value": x, "ci": [low, high]}``, the form of every metric."""
        return {"value": self.value, "ci": list(self.interval(alpha))}


def clustered(value: float, contributions: Floats, users: ArrayLike, freedom: float | None = None) -> Estimate:
    """The estimate whose error is the sum of ``contributions``, which are about 0 on average, drawn user by user.

    Parameters
    ----------
    contributions
        By how much each row moved the value, shape (n,).
    freedom
        Degrees of freedom when fewer than one per user, less one.
    """
    _, code = np.unique(np.asarray(users), return_inverse=True)
    sums = np.bincount(code, contributions)
    many = len(sums)
    if many < 2:
        return Estimate(value, float("inf"), 1.0)
    error = float(np.sqrt((sums**2).sum() * many / (many - 1)))
    return Estimate(value, error, many - 1.0 if freedom is None else min(freedom, many - 1.0))


def mean(values: Floats, users: ArrayLike) -> Estimate:
    """The mean over rows.

    Examples
    --------
    Four rows of two users say less than four users would.

    >>> x = np.array([0.0, 0.0, 1.0, 1.0])
    >>> mean(x, [1, 1, 2, 2]).error > mean(x, [1, 2, 3, 4]).error
    True
    """
    average = float(values.mean())
    return clustered(average, (values - average) / len(values), users)


def auroc(label: Floats, score: Floats, users: ArrayLike) -> tuple[Estimate, Floats]:
    """The area under the ROC curve, ties half, and each row's contribution (DeLong, clustered as by Obuchowski 1997).

    Its degrees of freedom are those of the rarer kind of label, so that few positives make a wide interval.

    Examples
    --------
    >>> estimate, _ = auroc(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]), [1, 2, 3, 4])
    >>> estimate.value
    0.75
    """
    positive = np.asarray(label) > 0
    one, other = int(positive.sum()), int((~positive).sum())
    if min(one, other) == 0:
        return Estimate(float("nan"), float("inf"), 1.0), np.zeros(len(positive))
    # The place among everybody less the place among one's own kind counts the rows of the other kind below.
    below = rankdata(score)
    below[positive] = (below[positive] - rankdata(score[positive])) / other
    below[~positive] = 1 - (below[~positive] - rankdata(score[~positive])) / one
    value = float(below[positive].mean())
    contributions = (below - value) / np.where(positive, one, other)
    return clustered(value, contributions, users, min(one, other) - 1.0), contributions


def auroc_by(label: Floats, score: Floats, group: ArrayLike, users: ArrayLike) -> tuple[Estimate, Floats]:
    """The mean of the AUROC within each group, so that groups of different levels are not ranked against each other.

    A group with one kind of label says nothing and counts nothing; freedom is that of the poorest that counts.
    """
    _, code = np.unique(np.asarray(group), return_inverse=True)
    who = np.asarray(users)
    parts = [(rows, *auroc(label[rows], score[rows], who[rows])) for rows in (code == k for k in range(code.max() + 1))]
    parts = [part for part in parts if np.isfinite(part[1].value)]
    contributions = np.zeros(len(code))
    if not parts:
        return Estimate(float("nan"), float("inf"), 1.0), contributions
    for rows, _, own in parts:
        contributions[rows] = own / len(parts)
    value = float(np.mean([estimate.value for _, estimate, _ in parts]))
    return clustered(value, contributions, who, min(estimate.freedom for _, estimate, _ in parts)), contributions


def losses(label: Floats, probability: Floats) -> Floats:
    """The log-loss of each row, probabilities held within [1e-6, 1 - 1e-6]."""
    p = np.clip(probability, EPSILON, 1 - EPSILON)
    loss: Floats = -np.where(label > 0, np.log(p), np.log1p(-p))
    return loss


def shift(label: Floats, probability: Floats, users: ArrayLike) -> Estimate:
    """By how much log-odds must be raised so that the mean probability is the observed rate.

    The rate is held half a row away from 0 and 1, so that a part without a single positive has a finite shift.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(0.1, 0.9, 40_000)
    >>> y = (rng.random(p.size) < expit(logit(p) + 0.5)).astype(float)
    >>> found = shift(y, p, np.arange(p.size))
    >>> abs(found.value - 0.5) < 4 * found.error < 0.06
    True
    """
    margin = logit(np.clip(probability, EPSILON, 1 - EPSILON))
    goal = float(np.clip(label.sum(), 0.5, len(label) - 0.5))
    low, high = -40.0, 40.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(margin + middle).sum() < goal else (low, middle)
    p = expit(margin + low)
    return clustered(low, (label - p) / (p * (1 - p)).sum(), users)


def ratio_gap(amount: Floats, expected: Floats, users: ArrayLike) -> Estimate:
    """The logarithm of what was spent over what was expected; an infinite error where either is nothing."""
    spent, foreseen = float(amount.sum()), float(expected.sum())
    if min(spent, foreseen) <= 0:
        return Estimate(0.0, float("inf"), 1.0)
    ratio = spent / foreseen
    return clustered(float(np.log(ratio)), (amount - ratio * expected) / spent, users, float((amount > 0).sum()) - 1)
