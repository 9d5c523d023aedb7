"""Boosters: one that learns labels, one that learns what a smooth teacher thinks, and both as one.

Trees answer for users that resemble many others; a smooth teacher answers better where data are few. Averaged margins
beat either, but the teacher is not served: a second booster, its student, reproduces it, and `merge` writes both into
one LightGBM text whose raw score is the weighted sum. So serving, exact TreeSHAP and the order of the horizons need no
second path: a weighted sum of boosters that are monotone in the horizon is monotone in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

__all__ = ["DEFAULTS", "STUDENT", "STUDENT_TREES", "TREES", "learn_labels", "learn_margin", "merge", "raw_scores"]

Floats = NDArray[np.float64]

DEFAULTS: dict[str, Any] = {
    "objective": "binary",
    # The level says where a row starts.
    "boost_from_average": False,
    "learning_rate": 0.04,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 127,
    # The same data and seed give the same bytes, on any number of threads.
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
TREES = 250
# A teacher has no noise: its student may follow closely.
STUDENT: dict[str, Any] = {
    "objective": "cross_entropy",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 30,
    "feature_fraction": 0.6,
    "lambda_l2": 1.0,
}
STUDENT_TREES = 150


def learn_labels(
    x: Floats, y: Floats, offset: Floats, names: Sequence[str], direction: int, params: Mapping[str, Any]
) -> lgb.Booster:
    """A booster of the labels ``y``; each row starts from ``offset``, in log-odds, which the booster does not contain.

    ``direction`` is the sign in which the raw score may move with the last column; 0 when it is free. ``params`` are
    LightGBM's, and ``trees`` in the place of `TREES`.
    """
    data = lgb.Dataset(x, y, init_score=offset, feature_name=list(names))
    return lgb.train(_constrained(params, names, direction), data, num_boost_round=int(params.get("trees", TREES)))


def learn_margin(
    x: Floats, margin: Floats, offset: Floats, names: Sequence[str], direction: int, params: Mapping[str, Any]
) -> lgb.Booster:
    """A booster of a teacher's ``margin`` in log-odds, without its ``offset``; constants are left to the calibrator."""
    p = np.clip(expit(margin), 1e-6, 1 - 1e-6)
    data = lgb.Dataset(x, p, init_score=offset + float(logit(p.mean())), feature_name=list(names))
    return lgb.train(_constrained({**params, **STUDENT}, names, direction), data, num_boost_round=STUDENT_TREES)


def merge(boosters: Sequence[lgb.Booster], weights: Sequence[float]) -> lgb.Booster:
    """One booster whose raw score is the weighted sum of the raw scores of ``boosters``.

    Its objective and parameters are those of the first. Gains of splits stay on the scales of their own boosters.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> quiet = {"objective": "binary", "verbose": -1}
    >>> both = [lgb.train({**quiet, "seed": k}, lgb.Dataset(x, x[:, k] > 0), 5) for k in (0, 1)]
    >>> one = merge(both, [0.7, 0.3])
    >>> bool(np.allclose(raw_scores(one, x), 0.7 * raw_scores(both[0], x) + 0.3 * raw_scores(both[1], x)))
    True
    """
    texts = [booster.model_to_string(num_iteration=-1) for booster in boosters]
    head, tail = texts[0].split("\nTree=0\n", 1)[0], texts[0].rsplit("end of trees", 1)[1]
    trees = [
        _scaled(tree, weight)
        for text, weight in zip(texts, weights, strict=True)
        for tree in re.split(r"(?m)^Tree=\d+\n", text.rsplit("end of trees", 1)[0])[1:]
    ]
    blocks = [f"Tree={number}\n{tree}" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(block.encode())) for block in blocks)
    head = re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", head)
    return lgb.Booster(model_str=f"{head}\n{''.join(blocks)}end of trees{tail}")


def raw_scores(booster: lgb.Booster, x: Floats) -> Floats:
    """The booster's margins in log-odds."""
    return np.asarray(booster.predict(x, raw_score=True), dtype=np.float64)


def _constrained(params: Mapping[str, Any], names: Sequence[str], direction: int) -> dict[str, Any]:
    known = {name: value for name, value in params.items() if name != "trees"}
    return {**known, "monotone_constraints": [0] * (len(names) - 1) + [direction]}


def _scaled(tree: str, weight: float) -> str:
    def times(line: re.Match[str]) -> str:
        return f"{line[1]}={' '.join(repr(float(value) * weight) for value in line[2].split())}"

    # `internal_value` is only read by people, but it should not lie to them.
    return re.sub(r"(?m)^(leaf_value|internal_value)=(.*)$", times, tree).rstrip("\n") + "\n\n\n"
