"""A LightGBM model as flat arrays for exact TreeSHAP, read from its text.

What the loop of `treeshap_code` needs to know of a tree and not of a row is worked out here once: per split the share
of training rows going left, the last split of the same feature above, and, at every quadrature point t in (0, 1), two
numbers. With z = the share of rows that followed all splits by this feature so far and f = z + t (1 - z)::

    part(t)  = (1 - t) z / f          slope(t) = 1 / ((1 - t) f)

Row 0 of both tables, 1 and 0, stands for a feature whose splits x has already left: nothing more to say about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.scoring.treeshap_code import LANES, NODE, TREE

__all__ = ["Forest", "UnsupportedModelError", "numbers_of", "read_forest", "trees_of"]

Floats = NDArray[np.float64]

_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of decision_type; the two above them say what is taken as absent
_ZERO_IS_ABSENT, _NAN_IS_ABSENT = 1, 2
_NAN_LEFT, _ZERO_LEFT, _BY_CATEGORY = 1, 2, 4


class UnsupportedModelError(ValueError):
    """The model has something of which the quadrature knows nothing: `pred_contrib` must explain it."""


@dataclass(frozen=True)
class Forest:
    """The trees of one booster; a tree with more than 2 LANES features on a path stands here once per LANES points.

    ``width`` columns of x; ``base`` is the expected raw score; ``slots`` the largest number of slots of a tree.
    """

    width: int
    base: float
    slots: int
    tree: NDArray[np.void]
    node: NDArray[np.void]
    leaf: Floats
    rule: Floats  # float64[r, LANES]: quadrature weights
    part: Floats  # float64[s, LANES]
    slope: Floats
    bits: NDArray[np.uint32]


@dataclass(frozen=True)
class _Split:
    """An inner node; ``above`` is the node below the last split of its feature before it, ``z`` the share of rows."""

    node: int
    above: int | None
    z: float


def read_forest(text: str) -> Forest:
    """The forest of ``Booster.model_to_string(num_iteration=-1)``."""
    width, blocks = trees_of(text)
    building = _Building(width)
    for block in blocks:
        building.add(block)
    return building.forest()


def trees_of(text: str) -> tuple[int, list[dict[str, str]]]:
    """How many columns a model has, and the fields of each of its trees."""
    head, *blocks = re.split(r"(?m)^Tree=\d+\n", text.rsplit("end of trees", 1)[0])
    header = _pairs(head)
    if header.get("num_tree_per_iteration") != "1" or re.search(r"(?m)^average_output$", head):
        raise UnsupportedModelError("several scores per row, or averaged trees")
    return int(header["max_feature_idx"]) + 1, [_pairs(block) for block in blocks]


class _Building:
    """The arrays of a forest while its trees are added."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.base = 0.0
        self.slots = 1
        self.tree: list[tuple[int, int, int, int]] = []
        self.node: list[tuple[Any, ...]] = []
        self.leaf: list[Floats] = []
        self.rule: list[Floats] = []
        self.part: list[Floats] = [np.ones(LANES)]
        self.slope: list[Floats] = [np.zeros(LANES)]
        self.bits: list[int] = [0]
        self._points: list[Floats] = []  # of each rule
        self._rules: dict[tuple[int, int], int] = {}
        self._rows: dict[tuple[int, float], int] = {}

    def add(self, fields: dict[str, str]) -> None:
        """One tree of the text."""
        if fields.get("is_linear", "0") != "0":
            raise UnsupportedModelError("linear trees")
        values = numbers_of(fields["leaf_value"])
        m = int(fields["num_leaves"]) - 1
        if m == 0:
            self.base += float(values[0])
            return
        children = np.stack([_integers(fields[f"{side}_child"]) for side in ("left", "right")], axis=1)
        feature = _integers(fields["split_feature"])
        count = np.concatenate([_integers(fields["internal_count"]), _integers(fields["leaf_count"])])
        below = np.where(children >= 0, children, m + ~children)  # inner nodes, then leaves
        # What follows, and the machine code, trusts these numbers.
        is_tree = np.array_equal(np.sort(below, axis=None), np.arange(1, 2 * m + 1))
        if not is_tree or feature.min() < 0 or feature.max() >= self.width:
            raise UnsupportedModelError("not a tree of these features")
        if (count <= 0).any() or (count[below].sum(axis=1) != count[:m]).any():
            raise UnsupportedModelError("the training rows of its nodes do not add up")
        self.base += float(count[m:] @ values) / float(count[0])
        splits, most = _paths(feature, below, count)
        points = LANES * -(-most // (2 * LANES))  # exact up to degree 2 points - 1; a path's integrand has most - 1
        for first in range(0, points, LANES):
            self.tree.append((len(self.node), m, sum(map(len, self.leaf)), self._rule(points, first)))
            self._nodes(fields, feature, below, count, splits, self.tree[-1][3])
        self.leaf.append(values)
        self.slots = max(self.slots, 2 * m + 2)

    def forest(self) -> Forest:
        """What was added."""
        rows = [np.array(table).reshape(-1, LANES) for table in (self.rule, self.part, self.slope)]
        leaf = np.concatenate(self.leaf) if self.leaf else np.empty(0)
        bits = np.array(self.bits, dtype=np.uint32)
        trees, nodes = np.array(self.tree, dtype=TREE), np.array(self.node, dtype=NODE)
        return Forest(self.width, self.base, self.slots, trees, nodes, leaf, rows[0], rows[1], rows[2], bits)

    def _nodes(
        self,
        fields: dict[str, str],
        feature: NDArray[np.int64],
        below: NDArray[np.int64],
        count: NDArray[np.int64],
        splits: list[_Split],
        rule: int,
    ) -> None:
        m = len(splits)
        slot = np.arange(2 * m + 1)
        slot[[split.node for split in splits]] = np.arange(m)
        threshold, decision = numbers_of(fields["threshold"]).tolist(), _integers(fields["decision_type"]).tolist()
        share = (count[below[:, 0]] / count[:m]).tolist()
        sides, used = slot[below].tolist(), feature.tolist()
        for split in splits:
            v = split.node
            edge = 2 * m + 1 if split.above is None else int(slot[split.above])
            word, words, kind = 0, 0, _kind(decision[v], threshold[v])
            if kind == _BY_CATEGORY:
                word, words = self._category(fields, int(threshold[v]))
            row = self._row(rule, split.z)
            self.node.append((threshold[v], share[v], used[v], *sides[v], edge, row, word, words, kind))

    def _category(self, fields: dict[str, str], which: int) -> tuple[int, int]:
        begin, end = _integers(fields["cat_boundaries"])[which : which + 2].tolist()
        words = [int(word) for word in fields["cat_threshold"].split()[begin:end]]
        self.bits += words
        return len(self.bits) - len(words), len(words)

    def _rule(self, points: int, first: int) -> int:
        if (points, first) not in self._rules:
            self._rules[points, first] = len(self.rule)
            self.rule.append(_gauss_legendre(points)[1][first : first + LANES])
            self._points.append(_gauss_legendre(points)[0][first : first + LANES])
        return self._rules[points, first]

    def _row(self, rule: int, z: float) -> int:
        if (rule, z) not in self._rows:
            self._rows[rule, z] = len(self.part)
            t = self._points[rule]
            f = z + t * (1 - z)
            self.part.append((1 - t) * z / f)
            self.slope.append(1 / ((1 - t) * f))
        return self._rows[rule, z]


def _paths(feature: NDArray[np.int64], below: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[list[_Split], int]:
    """The splits of a tree, parents first, and the largest number of distinct features on a path to a leaf."""
    m, most = len(feature), 0
    splits: list[_Split] = []
    used, sides, rows = feature.tolist(), below.tolist(), count.tolist()
    # Of each feature split so far: the node below its last split, and the share of rows that followed them all.
    waiting: list[tuple[int, dict[int, tuple[int, float]]]] = [(0, {})]
    while waiting:
        v, path = waiting.pop()
        above, z = path.get(used[v], (None, 1.0))
        splits.append(_Split(v, above, z))
        most = max(most, len(path) + (above is None))
        waiting += [
            (child, {**path, used[v]: (child, z * (rows[child] / rows[v]))})
            for child in reversed(sides[v])
            if child < m
        ]
    return splits, most


def _kind(decision: int, threshold: float) -> int:
    if decision & _CATEGORICAL:
        return _BY_CATEGORY
    default_left, absent = bool(decision & _DEFAULT_LEFT), decision >> 2 & 3
    zero_left = default_left if absent == _ZERO_IS_ABSENT else threshold >= 0
    nan_left = default_left if absent == _NAN_IS_ABSENT else zero_left  # elsewhere NaN is taken as zero
    return _NAN_LEFT * nan_left | _ZERO_LEFT * zero_left


@cache
def _gauss_legendre(points: int) -> tuple[Floats, Floats]:
    """Points and weights on [0, 1]."""
    t, weight = np.polynomial.legendre.leggauss(points)
    return (t + 1) / 2, weight / 2


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def numbers_of(text: str) -> Floats:
    """The numbers of one field of a tree."""
    return np.array(text.split(), dtype=np.float64)


def _integers(text: str) -> NDArray[np.int64]:
    return np.array(text.split(), dtype=np.int64)
