"""Exact SHAP interaction values of a booster: what two features say together beyond what each says alone.

With the path of `serving.scoring.treeshap`, for a leaf of value w whose path splits by features j, z_j the share of
training rows that follow all splits by j and o_j = 1 where x follows them, else 0, the interaction of i and j is::

    I_ij = sum over leaves of  w (o_i - z_i) (o_j - z_j) integral_0^1 prod_{k != i, j} (z_k + t (o_k - z_k)) dt

the integrand a polynomial in t, so a few quadrature points are exact. As `shap.TreeExplainer` does, half of I_ij stands
at (i, j) and half at (j, i), and the diagonal holds the rest of the contribution: every row of the matrix adds up to
the contribution of its feature. All leaves are visited once for a row, where the shap package explains the row again
for every feature: some hundred times sooner, and nothing to import.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
from numba import njit
from numpy.typing import NDArray

from serving.scoring.forest import UnsupportedModelError, numbers_of, trees_of

__all__ = ["interaction_values"]

Floats = NDArray[np.float64]

_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of LightGBM's decision_type; the two above them say what is taken as absent
_ZERO_IS_ABSENT, _NAN_IS_ABSENT = 1, 2
_NEAR_ZERO = float(np.float32(1e-35))  # LightGBM reads what is nearer to zero as zero


def interaction_values(booster: lgb.Booster, x: Floats) -> Floats:
    """The interaction values of each row of ``x`` (float64[n, f], NaN where absent), float64[n, f, f], symmetric.

    ``interaction_values(booster, x).sum(axis=2)`` are the contributions of `serving.scoring.treeshap`.

    Raises
    ------
    UnsupportedModelError
        When the booster splits by categories, takes zero as absent or has linear trees; ours never do.

    Examples
    --------
    >>> x = np.random.default_rng(0).integers(0, 2, size=(800, 2)).astype(float)
    >>> both = lgb.train({"verbose": -1}, lgb.Dataset(x, x[:, 0] * x[:, 1]), 20)
    >>> apart = lgb.train({"verbose": -1}, lgb.Dataset(x, x[:, 0] + x[:, 1]), 20)
    >>> [float(abs(interaction_values(one, x[:50])[:, 0, 1]).mean().round(1)) for one in (both, apart)]
    [0.1, 0.0]
    """
    width, trees = trees_of(booster.model_to_string(num_iteration=-1))
    out = np.zeros((len(x), width, width))
    asked = np.ascontiguousarray(np.where(np.abs(x) <= _NEAR_ZERO, 0.0, x))
    for fields in trees:
        if int(fields["num_leaves"]) > 1:
            node, leaves, most = _tree(fields)
            _add(out, asked, *node, leaves, *_points(most), most)
    return out


def _tree(fields: dict[str, str]) -> tuple[tuple[NDArray[Any], ...], Floats, int]:
    """A tree as slots, inner nodes before leaves: of each its parent, on which side, and the share of rows it takes."""
    m = int(fields["num_leaves"]) - 1
    decision = numbers_of(fields["decision_type"]).astype(np.int64)
    absent = decision >> 2 & 3
    if fields.get("is_linear", "0") != "0" or (decision & _CATEGORICAL).any() or (absent == _ZERO_IS_ABSENT).any():
        raise UnsupportedModelError("splits by category, zero as absent or linear trees")
    sides = [numbers_of(fields[f"{side}_child"]).astype(np.int64) for side in ("left", "right")]
    below = np.stack([np.where(side >= 0, side, m + ~side) for side in sides], axis=1)
    feature, threshold = numbers_of(fields["split_feature"]).astype(np.int64), numbers_of(fields["threshold"])
    # Where nothing is taken as absent, NaN is taken as zero.
    nan_left = np.where(absent == _NAN_IS_ABSENT, (decision & _DEFAULT_LEFT) != 0, threshold >= 0)
    count = np.concatenate([numbers_of(fields["internal_count"]), numbers_of(fields["leaf_count"])])
    parent, left = np.full(2 * m + 1, -1), np.zeros(2 * m + 1, dtype=np.bool_)
    for side in (0, 1):
        parent[below[:, side]] = np.arange(m)
        left[below[:, side]] = side == 0
    share = np.ones(2 * m + 1)
    share[1:] = count[1:] / count[parent[1:]]
    node = (feature, threshold, nan_left, parent, left, share)
    return node, numbers_of(fields["leaf_value"]), _longest(feature, parent, m)


def _longest(feature: NDArray[np.int64], parent: NDArray[np.int64], m: int) -> int:
    """The largest number of distinct features on a path to a leaf."""
    used, above = feature.tolist(), parent.tolist()
    paths: list[set[int]] = [set()] * (2 * m + 1)
    for v in _parents_first(above):
        paths[v] = paths[above[v]] | {used[above[v]]}
    return max(map(len, paths))


def _parents_first(above: list[int]) -> list[int]:
    below: dict[int, list[int]] = {}
    for v, parent in enumerate(above):
        below.setdefault(parent, []).append(v)
    found = list(below[-1])
    for v in found:  # grows while it is walked
        found += below.get(v, [])
    return found[1:]


@cache
def _points(most: int) -> tuple[Floats, Floats]:
    """Points and weights on [0, 1]: exact up to degree 2 points - 1, and a path of m features asks for m - 1."""
    t, weight = np.polynomial.legendre.leggauss((most + 1) // 2)
    return (t + 1) / 2, weight / 2


@njit(cache=True, nogil=True)
def _add(out, x, feature, threshold, nan_left, parent, left, share, leaves, t, weight, most):  # type: ignore[no-untyped-def]
    """Add one tree's interaction values of every row to ``out``."""
    m, points = len(feature), len(t)
    goes_left = np.empty(m, np.bool_)
    used, z, follows = np.empty(most, np.int64), np.empty(most), np.empty(most, np.bool_)
    ratio, left_out = np.empty((most, points)), np.empty(points)
    for row in range(len(x)):
        for j in range(m):
            value = x[row, feature[j]]
            goes_left[j] = value <= threshold[j] or (np.isnan(value) and nan_left[j])
        for leaf in range(m + 1):
            length, v = 0, m + leaf
            while parent[v] >= 0:
                up = parent[v]
                k = 0
                while k < length and used[k] != feature[up]:
                    k += 1
                if k == length:
                    used[k], z[k], follows[k] = feature[up], 1.0, True
                    length += 1
                z[k] *= share[v]
                follows[k] = follows[k] and goes_left[up] == left[v]
                v = up
            for q in range(points):
                whole = leaves[leaf] * weight[q]
                for k in range(length):
                    factor = z[k] + t[q] * ((1.0 if follows[k] else 0.0) - z[k])
                    ratio[k, q] = ((1.0 if follows[k] else 0.0) - z[k]) / factor
                    whole *= factor
                left_out[q] = whole
            for k in range(length):
                # The contribution itself, on the diagonal: what the pairs take is taken from it.
                alone = 0.0
                for q in range(points):
                    alone += left_out[q] * ratio[k, q]
                out[row, used[k], used[k]] += alone
                for other in range(k):
                    both = 0.0
                    for q in range(points):
                        both += left_out[q] * ratio[k, q] * ratio[other, q]
                    both *= 0.5
                    out[row, used[k], used[other]] += both
                    out[row, used[other], used[k]] += both
                    out[row, used[k], used[k]] -= both
                    out[row, used[other], used[other]] -= both
