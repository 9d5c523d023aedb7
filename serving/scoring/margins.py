"""Raw scores of a booster, bit for bit what `Booster.predict(raw_score=True)` answers, at a third of its cost.

LightGBM walks one row after the other through tree after tree, and each step waits for the one before. Here eight rows
go down a tree side by side without a branch, or, of the few rows that are left over, one row down eight trees: a leaf
leads to itself, and all stop when nobody moves. The leaves are added in the order of the trees, as LightGBM does, so
that the same double comes out.
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
from numba import njit
from numpy.typing import NDArray

from configs.errors import FeatureError
from serving.scoring.forest import UnsupportedModelError, numbers_of, trees_of

__all__ = ["Margins"]

Floats = NDArray[np.float64]

_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of decision_type; the two above them say what is taken as absent
_ZERO_IS_ABSENT, _NAN_IS_ABSENT = 1, 2
LANES = 8  # rows, or trees, side by side
NODE = 4  # numbers
TOGETHER = 512  # rows; more of them fall out of the cache between two trees, which costs four fifths of the speed
_ZERO = float(np.float32(1e-35))  # LightGBM reads what is nearer to zero as zero


class Margins:
    """The trees of one booster as one array of nodes; those of a tree stand together, inner ones before its leaves.

    A node is four numbers: its threshold, its column, and where the nodes to its left and right begin. It asks whether
    the value is at most the threshold. An absent one never is, so where it belongs to the left, the node asks a second
    set of columns, in which it is minus infinity. A leaf has what it adds for a threshold, and leads to itself.
    """

    def __init__(self, text: str) -> None:
        width, blocks = trees_of(text)
        self.width, self._trees = width, len(blocks)
        # Eight trees at a time: those that are lacking are one leaf that adds nothing.
        trees = [_tree(block, width) for block in (*blocks, {"num_leaves": "1", "leaf_value": "0"})]
        begins = np.concatenate([[0], np.cumsum([len(tree) for tree in trees])])[:-1]
        self._root = (NODE * np.append(begins[:-1], np.repeat(begins[-1:], -len(blocks) % LANES))).astype(np.uint64)
        for tree, begin in zip(trees, begins.tolist(), strict=True):
            tree[:, 2:] += begin
        nodes = np.concatenate(trees)
        # Where the column begins in a block of eight rows, column after column; where a node begins in the array.
        whole = nodes.copy().view(np.uint64)
        whole[:, 1:] = nodes[:, 1:] * [LANES, NODE, NODE]
        self._whole = whole.reshape(-1)
        self._real = self._whole.view(np.float64)

    @classmethod
    def of(cls, booster: lgb.Booster) -> Margins | None:
        """None where the booster must be asked itself: it splits by category, takes 0 as absent, or averages trees."""
        try:
            return cls(booster.model_to_string(num_iteration=-1))
        except UnsupportedModelError:
            return None

    def __call__(self, x: Floats) -> Floats:
        """The raw score of each row of ``x`` (float64[n, width], NaN where absent), float64[n]."""
        if x.ndim != 2 or x.shape[1] != self.width:
            raise FeatureError("rows to score have another width", got=x.shape, expected=f"[n, {self.width}]")
        n = len(x)
        if n > TOGETHER:
            return np.concatenate([self(x[first : first + TOGETHER]) for first in range(0, n, TOGETHER)])
        out = np.zeros(n)
        _add_all(out, np.ascontiguousarray(x, np.float64), self._trees, self._root, self._whole, self._real)
        return out


def _tree(fields: dict[str, str], width: int) -> Floats:
    """Threshold, column, left and right of each node, counted from the first: float64[nodes, 4]."""
    if fields.get("is_linear", "0") != "0":
        raise UnsupportedModelError("linear trees")
    leaves = numbers_of(fields["leaf_value"])
    m = int(fields["num_leaves"]) - 1
    nodes = np.zeros((2 * m + 1, NODE))
    nodes[m:, 0] = leaves[: m + 1]
    nodes[m:, 2:] = np.arange(m, 2 * m + 1)[:, None]
    if m == 0:
        return nodes
    decision = numbers_of(fields["decision_type"]).astype(np.int64)
    absent = decision >> 2 & 3
    if (decision & _CATEGORICAL).any() or (absent == _ZERO_IS_ABSENT).any():
        raise UnsupportedModelError("splits by category, or zero as absent")
    feature, threshold = numbers_of(fields["split_feature"]), numbers_of(fields["threshold"])
    sides = [numbers_of(fields[f"{side}_child"]).astype(np.int64) for side in ("left", "right")]
    below = np.stack([np.where(side >= 0, side, m + ~side) for side in sides], axis=1)
    # What follows trusts these numbers.
    once = np.array_equal(np.sort(below, axis=None), np.arange(1, 2 * m + 1))
    if not once or feature.min() < 0 or feature.max() >= width:
        raise UnsupportedModelError("not a tree of these features")
    default_left = (decision & _DEFAULT_LEFT) != 0
    # Where nothing is taken as absent, NaN is taken as zero.
    nan_left = np.where(absent == _NAN_IS_ABSENT, default_left, threshold >= 0)
    nodes[:m] = np.column_stack([threshold, feature + width * nan_left, below])
    return nodes


# Unsigned, or numba asks of every index whether it counts from the end.
_1, _3 = np.uint64(1), np.uint64(3)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (np.uint64(lane) for lane in range(LANES))


@njit(inline="always")
def _step(x, lane, v, whole, real):  # type: ignore[no-untyped-def]
    return whole[v + _3 - np.uint64(x[whole[v + _1] + lane] <= real[v])]


@njit(cache=True)
def _add(out, first, x, begin, end, several, trees, root, whole, real):  # type: ignore[no-untyped-def]
    """Add every tree to the rows of the blocks ``x[begin:end]``, whose first is row ``first``.

    With ``several`` a block is one row, its lanes so many trees. ``whole`` and ``real`` are the same nodes, read as
    integers and as floats.
    """
    step = 1 if several else 0
    for tree in range(0, trees, LANES if several else 1):
        ra, rb, rc, rd = root[tree], root[tree + step], root[tree + 2 * step], root[tree + 3 * step]
        re, rf, rg, rh = root[tree + 4 * step], root[tree + 5 * step], root[tree + 6 * step], root[tree + 7 * step]
        for block in range(begin, end):
            mine, row = x[block], np.uint64(first + (block - begin) * (1 if several else LANES))
            a, b, c, d, e, f, g, h = ra, rb, rc, rd, re, rf, rg, rh
            moving = True
            while moving:
                a0, b0, c0, d0, e0, f0, g0, h0 = a, b, c, d, e, f, g, h
                a = _step(mine, _L0, a, whole, real)
                b = _step(mine, _L1, b, whole, real)
                c = _step(mine, _L2, c, whole, real)
                d = _step(mine, _L3, d, whole, real)
                e = _step(mine, _L4, e, whole, real)
                f = _step(mine, _L5, f, whole, real)
                g = _step(mine, _L6, g, whole, real)
                h = _step(mine, _L7, h, whole, real)
                same = (a ^ a0) | (b ^ b0) | (c ^ c0) | (d ^ d0) | (e ^ e0) | (f ^ f0) | (g ^ g0) | (h ^ h0)
                moving = same != 0
            if several:
                total = out[row] + real[a]
                total += real[b]
                total += real[c]
                total += real[d]
                total += real[e]
                total += real[f]
                total += real[g]
                out[row] = total + real[h]
                continue
            out[row + _L0] += real[a]
            out[row + _L1] += real[b]
            out[row + _L2] += real[c]
            out[row + _L3] += real[d]
            out[row + _L4] += real[e]
            out[row + _L5] += real[f]
            out[row + _L6] += real[g]
            out[row + _L7] += real[h]


@njit(cache=True, nogil=True)
def _add_all(out, x, trees, root, whole, real):  # type: ignore[no-untyped-def]
    """Add every tree to ``out[row]``: eight rows at a time down one tree, and what is left over each down eight."""
    rows, width = x.shape
    beside = rows - rows % LANES
    columns = np.empty((beside // LANES + rows - beside, 2 * LANES * width))
    for row in range(rows):
        alone = row >= beside
        block = beside // LANES + row - beside if alone else row // LANES
        for column in range(width):
            value = x[row, column]
            if abs(value) <= _ZERO:
                value = 0.0
            below = value if value == value else -np.inf
            for lane in range(0 if alone else row % LANES, LANES if alone else row % LANES + 1):
                columns[block, LANES * column + lane] = value
                columns[block, LANES * (width + column) + lane] = below
    blocks = beside // LANES
    for begin, end, several in ((0, blocks, False), (blocks, len(columns), True)):
        _add(out, begin * LANES, columns, begin, end, several, trees, root, whole, real)
