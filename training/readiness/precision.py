"""How sure a judgement can be: half widths of 95 % intervals, and which of two forecasts is the better one.

Rows of one user resemble each other: whatever is averaged here is averaged with users as clusters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LEAST_OF_A_KIND", "Advice", "Mean", "advise", "auroc_half_width", "mean_of"]

Floats = NDArray[np.float64]

LEAST_OF_A_KIND = 10
Z = 1.959964


@dataclass(frozen=True)
class Mean:
    """A mean over rows and the half width of its 95 % interval."""

    value: float
    half: float


@dataclass(frozen=True)
class Advice:
    """What to use for one head (in one channel), and how sure that is.

    ``use`` is ``model`` (surely better than the best baseline), ``baseline`` (the model is surely not better, or it is
    open: then ``more`` times as many rows would settle it, if the difference stays), or ``wait`` (fewer than ten labels
    of a kind: ``more`` times as many are needed before anything can be said). ``more`` is None where no number of rows
    would help. Half widths are those that the next judgement on as many rows will have.
    """

    use: str
    baseline: str | None
    rows: int
    users: int
    positives: int
    auroc_half: float | None
    loss_half: float | None
    mean_half: float | None
    better_by: float | None
    better_half: float | None
    more: float | None

    def as_json(self) -> dict[str, Any]:
        """The numbers."""
        return asdict(self)


def mean_of(values: Floats, users: ArrayLike) -> Mean:
    """The mean, with users as clusters.

    Examples
    --------
    >>> mean_of(np.array([0.0, 1, 0, 1]), ["a", "b", "c", "d"]).half > mean_of(np.array([0.0, 1]), ["a", "a"]).half
    True
    """
    codes = np.unique(np.asarray(users, dtype=str), return_inverse=True)[1]
    mean = float(values.mean())
    apart = np.bincount(codes, values - mean)
    count = len(apart)
    # One user more or less: the usual correction of a small number of clusters.
    spread = math.sqrt(float((apart**2).sum()) * count / max(count - 1, 1))
    return Mean(mean, Z * spread / len(values))


def auroc_half_width(auroc: float, positives: float, negatives: float) -> float:
    """Half the 95 % interval of an AUROC: Hanley and McNeil (1982), Radiology 143(1).

    Examples
    --------
    >>> round(auroc_half_width(0.8, 100, 400), 3), round(auroc_half_width(0.8, 10, 40), 3)
    (0.055, 0.175)
    """
    one = auroc / (2 - auroc)
    both = 2 * auroc**2 / (1 + auroc)
    inside = auroc * (1 - auroc) + (positives - 1) * (one - auroc**2) + (negatives - 1) * (both - auroc**2)
    return Z * math.sqrt(max(inside, 0.0) / (positives * negatives))


def advise(
    y: Floats, loss: Floats, beside: Mapping[str, Floats], users: ArrayLike, auroc: float | None, gap: Floats
) -> Advice:
    """What to use.

    Parameters
    ----------
    y
        What followed; above 0 is a positive. Shape (n,), as all others.
    loss, beside
        What each row costs by the model, and by each baseline: lower is better.
    auroc
        Of the model's raw scores; None where it is not defined.
    gap
        Prediction minus truth, whose mean says whether the level is right.
    """
    rows, positives = len(y), int((y > 0).sum())
    people = len(np.unique(np.asarray(users, dtype=str)))
    rarer = min(positives, rows - positives)
    best = min(beside, key=lambda name: float(beside[name].mean())) if beside else None
    if rarer < LEAST_OF_A_KIND:
        more = LEAST_OF_A_KIND / rarer if rarer else None
        return Advice("wait", best, rows, people, positives, None, None, None, None, None, more)
    share = people / rows
    halves = (
        None if auroc is None else auroc_half_width(auroc, positives * share, (rows - positives) * share),
        mean_of(loss, users).half,
        mean_of(gap, users).half,
    )
    if best is None:
        return Advice("model", None, rows, people, positives, *halves, None, None, None)
    better = mean_of(beside[best] - loss, users)
    if better.value > better.half:
        return Advice("model", best, rows, people, positives, *halves, better.value, better.half, None)
    more = (better.half / better.value) ** 2 if better.value > 0 else None
    return Advice("baseline", best, rows, people, positives, *halves, better.value, better.half, more)
