"""The paired bootstrap of users: every forecast is measured on the same draws, so that differences have intervals too.

Rows of one user at several origins are not independent, so users are drawn, not rows; each draw counts the rows of a
user as often as the user was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LOWER", "Interval", "Measure", "Resampled", "gain", "resample"]

Floats = NDArray[np.float64]
#: Metrics of rows counted so many times each; None counts every row once.
Measure = Callable[[Floats | None], dict[str, float]]

# The smaller the better; ``bias`` should be near 0; of all others more is better.
LOWER = ("log_loss", "brier", "ece", "mae")


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
class Resampled:
    """Metrics by name of the forecast: ``point`` as they are, ``draws`` over the draws of users, float64[resamples]."""

    point: Mapping[str, Mapping[str, float]]
    draws: Mapping[str, Mapping[str, Floats]]

    def interval(self, name: str, metric: str) -> Interval:
        """One metric of one forecast."""
        return _interval(self.point[name][metric], self.draws[name][metric])

    def intervals(self, name: str) -> dict[str, Interval]:
        """Every metric of one forecast."""
        return {metric: self.interval(name, metric) for metric in self.point[name]}

    def difference(self, name: str, other: str, metric: str) -> Interval:
        """How much better ``name`` is than ``other``, on the same draws: above 0 it is better, whatever the metric."""
        point = gain(metric, np.array(self.point[name][metric]), np.array(self.point[other][metric]))
        return _interval(float(point), gain(metric, self.draws[name][metric], self.draws[other][metric]))


def resample(measures: Mapping[str, Measure], users: ArrayLike, resamples: int = 200, seed: int = 0) -> Resampled:
    """Measure every forecast on all rows, and on ``resamples`` draws of users.

    Parameters
    ----------
    measures
        By name; all of the same rows, in the order of ``users``.
    users
        Whom each row is about, shape (n,).

    Examples
    --------
    >>> y = np.array([0.0, 2.0, 4.0])
    >>> def mean(weight):
    ...     return {"mean": float(np.average(y, weights=weight))}
    >>> resample({"y": mean}, ["a", "b", "c"], 50).interval("y", "mean").value
    2.0
    """
    unique, codes = np.unique(np.asarray(users), return_inverse=True)
    rng = np.random.default_rng(seed)
    point = {name: measure(None) for name, measure in measures.items()}
    drawn: dict[str, list[list[float]]] = {name: [] for name in measures}
    for _ in range(resamples):
        counts = np.bincount(rng.integers(0, len(unique), len(unique)), minlength=len(unique)).astype(float)
        weight = counts[codes]
        for name, measure in measures.items():
            drawn[name].append(list(measure(weight).values()))
    columns = {name: np.array(rows, dtype=np.float64).reshape(resamples, -1).T for name, rows in drawn.items()}
    return Resampled(point, {name: dict(zip(point[name], columns[name], strict=True)) for name in measures})


def gain(metric: str, ours: Floats, other: Floats) -> Floats:
    """How much better ``ours`` is than ``other``.

    Examples
    --------
    >>> [float(gain(name, np.array(0.25), np.array(-0.5))) for name in ("auroc", "log_loss", "bias")]
    [0.75, -0.75, 0.25]
    """
    if metric == "bias":
        return np.asarray(np.abs(other) - np.abs(ours), dtype=np.float64)
    return other - ours if metric in LOWER else ours - other


def _interval(point: float, draws: Floats) -> Interval:
    # A draw without a label of either kind has no AUROC.
    told = draws[~np.isnan(draws)]
    low, high = np.percentile(told, [2.5, 97.5]) if len(told) else (np.nan, np.nan)
    return Interval(point, float(low), float(high))
