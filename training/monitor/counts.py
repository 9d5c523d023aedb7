"""How far a distribution has moved: PSI and KS between two rows of counts, and how far chance alone moves them.

A feature is cut once, at the reference: the edges are values of its own at every 5 %, so that both statistics need
nothing but counts. The last count is that of absent values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["chance", "count", "cut", "ks", "psi"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PARTS = 20


def cut(values: Floats) -> Floats:
    """Edges, strictly rising: each distinct value at 5, 10, ..., 95 %; NaN is left out.

    A lone edge has another just below it, so that a value that everybody shared can leave on either side.

    Examples
    --------
    >>> cut(np.array([0.0, 0, 0, 0, 1, np.nan])).tolist()
    [0.0, 1.0]
    """
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return np.zeros(1)
    inner = np.quantile(known, np.arange(1, PARTS) / PARTS, method="inverted_cdf")
    edges: Floats = np.unique(inner)
    return edges if len(edges) > 1 else np.array([np.nextafter(edges[0], -np.inf), edges[0]])


def count(values: Floats, edges: Floats) -> Ints:
    """How many values lie in ``(-inf, e0]``, ``(e0, e1]``, ..., ``(ek, inf)``, and how many are NaN: int64[k + 3].

    Examples
    --------
    >>> count(np.array([0.0, 1, 1, 9, np.nan]), np.array([0.0, 1.0])).tolist()
    [1, 2, 1, 1]
    """
    missing = np.isnan(values)
    inside = np.bincount(np.searchsorted(edges, values[~missing], side="left"), minlength=len(edges) + 1)
    return np.append(inside, missing.sum()).astype(np.int64)


def psi(one: NDArray[np.integer], other: NDArray[np.integer]) -> Floats:
    """The population stability index ``sum (p - q) ln(p / q)`` along the last axis; half a row is added to each count.

    Examples
    --------
    >>> round(float(psi(np.array([500, 500, 0]), np.array([500, 500, 0]))), 6)
    0.0
    >>> round(float(psi(np.array([5000, 5000]), np.array([7500, 2500]))), 3)
    0.275
    """
    p, q = (_shares(counts) for counts in (one, other))
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1), dtype=np.float64)


def ks(one: NDArray[np.integer], other: NDArray[np.integer]) -> Floats:
    """The largest difference of the two distributions at an edge, in [0, 1], along the last axis.

    Absent values count as larger than all others.

    Examples
    --------
    >>> float(ks(np.array([50, 50, 0]), np.array([80, 20, 0]))), float(ks(np.array([9, 1, 0]), np.array([8, 0, 2])))
    (0.3, 0.2)
    """
    p, q = (_cumulated(counts) for counts in (one, other))
    return np.asarray(np.abs(p - q).max(axis=-1).round(12), dtype=np.float64)


def chance(one: Ints, other: Ints, resamples: int, rng: np.random.Generator) -> tuple[float, float]:
    """The p-values of PSI and KS when all rows are shuffled between the two sides: in (0, 1].

    Examples
    --------
    >>> chance(np.array([50, 50, 0]), np.array([90, 10, 0]), 999, np.random.default_rng(0))
    (0.001, 0.001)
    """
    together, size = one + other, int(other.sum())
    if size == 0 or one.sum() == 0:
        return 1.0, 1.0
    drawn = rng.multivariate_hypergeometric(together, size, size=resamples)
    beyond = [
        int((statistic(together - drawn, drawn) >= statistic(one, other) - 1e-12).sum()) for statistic in (psi, ks)
    ]
    return (1 + beyond[0]) / (resamples + 1), (1 + beyond[1]) / (resamples + 1)


def _shares(counts: NDArray[np.integer]) -> Floats:
    smooth = counts + 0.5
    return np.asarray(smooth / smooth.sum(axis=-1, keepdims=True), dtype=np.float64)


def _cumulated(counts: NDArray[np.integer]) -> Floats:
    reached = np.cumsum(counts, axis=-1)
    return np.asarray(reached / np.maximum(reached[..., -1:], 1), dtype=np.float64)
