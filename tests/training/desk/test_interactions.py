"""Interaction values are those of the shap package and of Shapley's definition, and rows add up to contributions."""

from __future__ import annotations

import warnings
from itertools import combinations
from math import factorial

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.scoring.forest import UnsupportedModelError, numbers_of, trees_of
from serving.scoring.treeshap import TreeShap
from training.boost import merge
from training.desk.interactions import interaction_values

QUIET = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 2, "min_data_in_bin": 1}


def grown(seed, width=4, trees=3, leaves=6, missing=0.2, rows=200):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).round(1)
    x[rng.random(x.shape) < missing] = np.nan
    y = np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, width // 2]) + np.nan_to_num(x[:, -1]) + rng.normal(0, 0.1, rows)
    booster = lgb.train({**QUIET, "num_leaves": leaves, "seed": seed}, lgb.Dataset(x, y), trees)
    return booster, x


def expectation(booster, x, known):
    """What the trees say of a row of which only the features in ``known`` are known: others by the share of rows."""

    def below(fields, node):
        if node < 0:
            return leaves[~node]
        sides = [int(numbers_of(fields[f"{side}_child"])[node]) for side in ("left", "right")]
        feature = int(numbers_of(fields["split_feature"])[node])
        if feature in known:
            value = x[feature]
            left = value <= numbers_of(fields["threshold"])[node]
            if np.isnan(value):
                decision = int(numbers_of(fields["decision_type"])[node])
                left = bool(decision & 2) if decision >> 2 & 3 == 2 else numbers_of(fields["threshold"])[node] >= 0
            return below(fields, sides[0] if left else sides[1])
        weights = [counts[side] if side >= 0 else leaf_counts[~side] for side in sides]
        values = [below(fields, side) for side in sides]
        return (weights[0] * values[0] + weights[1] * values[1]) / sum(weights)

    total = 0.0
    for fields in trees_of(booster.model_to_string(num_iteration=-1))[1]:
        leaves, counts = numbers_of(fields["leaf_value"]), numbers_of(fields.get("internal_count", ""))
        leaf_counts = numbers_of(fields.get("leaf_count", ""))
        total += below(fields, 0) if int(fields["num_leaves"]) > 1 else leaves[0]
    return total


def shapley_interaction(booster, x, i, j):
    """Half of Shapley's interaction index, by its definition."""
    others, width = [k for k in range(len(x)) if k not in (i, j)], len(x)
    total = 0.0
    for size in range(width - 1):
        weight = factorial(size) * factorial(width - size - 2) / factorial(width - 1)
        for chosen in combinations(others, size):
            known = set(chosen)
            both, one, other, none = (expectation(booster, x, known | more) for more in ({i, j}, {i}, {j}, set()))
            total += weight * (both - one - other + none)
    return total / 2


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_the_definition(seed):
    booster, x = grown(seed)
    found = interaction_values(booster, x[:3])
    for row in range(3):
        for i, j in combinations(range(4), 2):
            assert found[row, i, j] == pytest.approx(shapley_interaction(booster, x[row], i, j), abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 14), st.integers(1, 5), st.integers(2, 40), st.sampled_from([0.0, 0.1, 0.7])
)
def test_rows_add_up_to_contributions(seed, width, trees, leaves, missing):
    booster, x = grown(seed, width, trees, leaves, missing)
    asked = np.concatenate([x[:10], np.zeros((1, width)), np.full((1, width), np.nan), np.full((1, width), 1e-36)])
    found = interaction_values(booster, asked)
    np.testing.assert_allclose(found, found.transpose(0, 2, 1), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=2), TreeShap.of(booster)(asked)[0], atol=1e-10)


def test_equal_to_the_shap_package():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        import shap  # the oracle, and not a way in: the package's own door is `training.explain`

    booster, x = grown(7, width=6, trees=20, leaves=15, rows=600)
    merged = merge([booster, grown(8, width=6, trees=10, leaves=31, rows=600)[0]], [0.6, 0.4])
    expected = shap.TreeExplainer(merged).shap_interaction_values(x[:25])
    np.testing.assert_allclose(interaction_values(merged, x[:25]), expected, atol=1e-9)


def test_a_planted_pair_is_found_and_a_sum_has_none():
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2, size=(2000, 3)).astype(float)
    pair = lgb.train(QUIET, lgb.Dataset(x, (x[:, 0] != x[:, 2]).astype(float)), 30)
    apart = lgb.train(QUIET, lgb.Dataset(x, x[:, 0] + x[:, 2]), 30)
    together = np.abs(interaction_values(pair, x[:100])).mean(axis=0)
    assert together[0, 2] > 0.1
    assert max(together[0, 1], together[1, 2]) < 1e-3
    assert np.abs(interaction_values(apart, x[:100]))[:, 0, 2].max() < 0.02


def test_what_it_cannot_read_is_refused():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, size=(500, 2)).astype(float)
    booster = lgb.train({**QUIET, "min_data_per_group": 1}, lgb.Dataset(x, x[:, 0] % 2, categorical_feature=[0]), 2)
    with pytest.raises(UnsupportedModelError):
        interaction_values(booster, x[:2])
