"""How sure a judgement can be: half widths of 95 % intervals, and which of two forecasts is the better one.

Rows of one user resemble each other: whatever is averaged here is averaged with users as clusters.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.checks.clustered import mean

__all__ = ["LEAST_OF_A_KIND", "Advice", "Mean", "Z", "advise", "auroc_half_width", "mean_of"]

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
    of a kind: ``more`` times as many are needed before anything can be said; or no ``baseline`` to compare with: a
    model that was compared with nothing is not proven). ``more`` is None where no number of rows would help. Half
    widths are those that the next judgement on as many rows will have.

    ``better_by`` is in units of ``measure``. ``rows`` of ``origins`` are those that the baselines answer, ``left_out``
    the others. ``far_off``: the total of the model is so much further from the truth than the baseline's that it is not
    used, however well it orders.
    """

    use: str
    baseline: str | None
    rows: int
    users: int
    positives: int
    auroc_half: float | None = None
    loss_half: float | None = None
    mean_half: float | None = None
    better_by: float | None = None
    better_half: float | None = None
    more: float | None = None
    measure: str = "log_loss"
    origins: int = 1
    left_out: int = 0
    far_off: bool = False

    def as_json(self) -> dict[str, Any]:
        """The numbers."""
        return asdict(self)


def mean_of(values: Floats, users: ArrayLike) -> Mean:
    """The mean, with users as clusters; rows of a single user say nothing of others.

    Examples
    --------
    >>> mean_of(np.array([0.0, 1, 0, 1]), ["a", "b", "c", "d"]).half < mean_of(np.array([0.0, 1]), ["a", "a"]).half
    True
    """
    estimate = mean(values, np.asarray(users, dtype=str))
    return Mean(estimate.value, Z * estimate.error)


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
    y: Floats,
    loss: Floats,
    users: ArrayLike,
    auroc: float | None,
    gap: Floats,
    best: str | None,
    better: Mean | None,
    far_off: bool = False,
) -> Advice:
    """What to use.

    Parameters
    ----------
    y
        What followed; above 0 is a positive. Shape (n,), as all others.
    loss
        What each row costs by the model: lower is better.
    auroc
        Of the model's raw scores; None where it is not defined.
    gap
        Prediction minus truth, whose mean says whether the level is right.
    best, better
        The best baseline, and by how much the model is better than it; None where no baseline answers.
    far_off
        Whether the total rules the model out.
    """
    rows, positives = len(y), int((y > 0).sum())
    people = len(np.unique(np.asarray(users, dtype=str)))
    rarer = min(positives, rows - positives)
    if rarer < LEAST_OF_A_KIND:
        return Advice("wait", best, rows, people, positives, more=LEAST_OF_A_KIND / rarer if rarer else None)
    share = people / rows
    halves = (
        None if auroc is None else auroc_half_width(auroc, positives * share, (rows - positives) * share),
        mean_of(loss, users).half,
        mean_of(gap, users).half,
    )
    if best is None or better is None:
        return Advice("wait", None, rows, people, positives, *halves)
    told = (best, rows, people, positives, *halves, better.value, better.half)
    if far_off:
        return Advice("baseline", *told, far_off=True)
    if better.value > better.half:
        return Advice("model", *told)
    return Advice("baseline", *told, more=(better.half / better.value) ** 2 if better.value > 0 else None)
