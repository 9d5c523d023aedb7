"""Exact TreeSHAP by quadrature: equal to LightGBM's own recursion, whatever the trees."""

import sys

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import FeatureError
from serving.scoring.forest import UnsupportedModelError, read_forest
from serving.scoring.margins import TOGETHER, Margins
from serving.scoring.treeshap import TreeShap
from serving.scoring.treeshap_code import LANES
from training.boost import merge

QUIET = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 1, "min_data_per_group": 1, "cat_smooth": 0.1}


@st.composite
def boosters(draw):
    """A booster with its rows, among them absent, zero, tiny, huge and never seen values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, width = draw(st.integers(30, 400)), draw(st.integers(1, 24))
    x = rng.normal(size=(rows, width)).round(draw(st.integers(0, 3)))
    kinds = draw(
        st.lists(st.sampled_from(["number", "category", "constant", "sparse"]), min_size=width, max_size=width)
    )
    for column, kind in enumerate(kinds):
        if kind == "category":
            x[:, column] = rng.integers(0, draw(st.sampled_from([2, 7, 70])), rows)
        elif kind == "constant":
            x[:, column] = 1.0
        elif kind == "sparse":
            x[:, column] *= rng.random(rows) < 0.2
    x[rng.random(x.shape) < draw(st.sampled_from([0.0, 0.1, 0.6]))] = np.nan
    y = np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, -1]) ** 2 + rng.normal(size=rows)
    params = {
        **QUIET,
        "objective": draw(st.sampled_from(["binary", "regression", "cross_entropy"])),
        "num_leaves": draw(st.integers(2, 63)),
        "max_depth": draw(st.sampled_from([-1, 1, 3, 6])),
        "use_missing": draw(st.booleans()),
        "zero_as_missing": draw(st.booleans()),
        "boost_from_average": draw(st.booleans()),
        "bagging_fraction": draw(st.sampled_from([0.6, 1.0])),
        "bagging_freq": 1,
        "extra_trees": draw(st.booleans()),
    }
    label = y if params["objective"] == "regression" else (y > np.median(y)).astype(float)
    categories = [column for column, kind in enumerate(kinds) if kind == "category"]
    booster = lgb.train(params, lgb.Dataset(x, label, categorical_feature=categories), draw(st.integers(1, 6)))
    asked = np.where(rng.random(x.shape) < 0.8, x, rng.choice(STRANGE, x.shape))[:20]
    return booster, np.concatenate([asked, rng.permutation(x.ravel())[: width * 3].reshape(-1, width)])


STRANGE = np.array([np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-30, -0.5, 31.0, 32.0, 64.9, 1e6, -1e6, 3e9, -np.inf, np.inf])


def assert_equal(booster, x):
    expected = booster.predict(x, pred_contrib=True, num_threads=1)
    shap = TreeShap.of(booster)
    phi, base = shap(x)
    assert phi.shape == x.shape
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(phi, expected[:, :-1], rtol=0, atol=1e-9 * scale)
    assert base == pytest.approx(expected[0, -1], rel=1e-12, abs=1e-12)
    raw = booster.predict(x, raw_score=True, num_threads=1)
    np.testing.assert_allclose(phi.sum(axis=1) + base, raw, rtol=0, atol=1e-9 * scale)


@settings(max_examples=120, deadline=None)
@given(boosters())
def test_equal_to_pred_contrib(example):
    assert_equal(*example)


@settings(max_examples=120, deadline=None)
@given(boosters(), st.integers(0, 20))
def test_margins_are_those_of_the_booster_bit_for_bit(example, rows):
    booster, x = example
    margins = Margins.of(booster)
    if margins is not None:  # else it splits by category, or takes zero as absent
        np.testing.assert_array_equal(margins(x[:rows]), booster.predict(x, raw_score=True)[:rows])
        with pytest.raises(FeatureError):
            margins(x[:, 1:])


def test_margins_of_more_rows_than_are_walked_together():
    random = np.random.default_rng(4)
    x = random.normal(size=(2 * TOGETHER + 5, 6))
    booster = lgb.train({**QUIET, "objective": "binary"}, lgb.Dataset(x, x[:, 0] > 0), 5)
    for rows in (TOGETHER - 1, TOGETHER, TOGETHER + 1, len(x)):
        np.testing.assert_array_equal(Margins.of(booster)(x[:rows]), booster.predict(x[:rows], raw_score=True))


def test_margins_leave_categories_and_absent_zeros_to_the_booster():
    x = np.random.default_rng(3).integers(0, 5, (200, 2)).astype(float)
    x[:50] = np.nan
    for zero_as_missing, categories in ((False, []), (False, [0]), (True, [])):
        data = lgb.Dataset(x, x[:, 0] == 2, categorical_feature=categories)
        booster = lgb.train({**QUIET, "zero_as_missing": zero_as_missing}, data, 3)
        assert (Margins.of(booster) is None) == (zero_as_missing or bool(categories))


def comb(width):
    """A booster whose paths use one feature after the other, and its rows."""
    x = (np.random.default_rng(5).random((4000, width)) < 0.9).astype(float)
    first_zero = np.argmin(np.pad(x, ((0, 0), (0, 1))), axis=1).astype(float)
    return lgb.train({**QUIET, "objective": "regression", "num_leaves": 64}, lgb.Dataset(x, first_zero), 3), x[:20]


def test_more_features_on_a_path_than_one_register_integrates():
    booster, x = comb(24)
    forest = read_forest(booster.model_to_string(num_iteration=-1))
    assert len(forest.tree) == 2 * booster.num_trees()
    assert forest.rule.shape[1] == LANES
    assert_equal(booster, x)


def test_adds_up_where_the_recursion_of_lightgbm_no_longer_does():
    booster, x = comb(70)
    raw = booster.predict(x, raw_score=True, num_threads=1)
    phi, base = TreeShap.of(booster)(x)
    np.testing.assert_allclose(phi.sum(axis=1) + base, raw, rtol=0, atol=1e-12)
    assert np.abs(booster.predict(x, pred_contrib=True, num_threads=1).sum(axis=1) - raw).max() > 1e-6


def test_a_merged_booster():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 5))
    params = {**QUIET, "objective": "binary", "num_leaves": 9}
    both = [lgb.train({**params, "seed": k}, lgb.Dataset(x, x[:, k] > 0), 5) for k in (0, 1)]
    assert_equal(merge(both, [0.7, 0.3]), x[:50])


def test_several_values_of_the_last_column_at_once():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 6))
    params = {**QUIET, "objective": "binary", "num_leaves": 5, "feature_fraction": 0.5}
    booster = lgb.train(params, lgb.Dataset(x, x[:, 0] + x[:, -1] > 0), 30)
    shap = TreeShap.of(booster)
    assert 0 < shap._without_last < booster.num_trees()
    phi, base = shap.at(x[:20, :-1], [-1.0, 0.0, 2.0])
    assert phi.shape == (3, 20, 6)
    for one, value in zip(phi, (-1.0, 0.0, 2.0), strict=True):
        rows = np.column_stack([x[:20, :-1], np.full(20, value)])
        expected = booster.predict(rows, pred_contrib=True)
        np.testing.assert_allclose(one, expected[:, :-1], rtol=0, atol=1e-12)
        assert base == pytest.approx(expected[0, -1], abs=1e-12)


def test_a_constant_model_and_no_rows():
    x = np.zeros((50, 2))
    booster = lgb.train({**QUIET, "objective": "regression"}, lgb.Dataset(x, np.full(50, 3.0)), 2)
    assert_equal(booster, x)
    assert TreeShap.of(booster)(x[:0])[0].shape == (0, 2)


def test_the_same_row_alone_or_among_others():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 8))
    shap = TreeShap.of(lgb.train({**QUIET, "objective": "binary"}, lgb.Dataset(x, x[:, 0] > 0), 10))
    together = shap(x)[0]
    assert all(np.array_equal(shap(x[row : row + 1])[0][0], together[row]) for row in range(len(x)))
    assert np.array_equal(shap(np.asfortranarray(x))[0], together)


@pytest.mark.parametrize(
    ("params", "label"),
    [
        ({"objective": "regression", "linear_tree": True}, lambda x: x[:, 0]),
        ({"objective": "multiclass", "num_class": 3}, lambda x: np.digitize(x[:, 0], [-0.5, 0.5])),
        (
            {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
            lambda x: x[:, 0] > 0,
        ),
    ],
    ids=["linear", "multiclass", "forest"],
)
def test_what_it_does_not_know_is_left_to_lightgbm(params, label):
    x = np.random.default_rng(2).normal(size=(300, 3))
    booster = lgb.train({**QUIET, **params}, lgb.Dataset(x, label(x)), 3)
    assert TreeShap.of(booster) is None


def test_rows_that_do_not_add_up_are_left_to_lightgbm():
    x = np.random.default_rng(2).normal(size=(300, 3))
    text = lgb.train({**QUIET, "objective": "binary"}, lgb.Dataset(x, x[:, 0] > 0), 1).model_to_string()
    count = text.partition("internal_count=")[2].split()[0]
    with pytest.raises(UnsupportedModelError, match="add up"):
        read_forest(text.replace(f"internal_count={count}", "internal_count=299"))


def test_what_is_no_tree_never_reaches_machine_code():
    x = np.random.default_rng(2).normal(size=(300, 3))
    text = lgb.train({**QUIET, "objective": "binary"}, lgb.Dataset(x, x[:, 0] > 0), 1).model_to_string()
    for key, entry in (("left_child", "0"), ("right_child", "999"), ("split_feature", "3"), ("split_feature", "-1")):
        first = text.partition(f"{key}=")[2].split()[0]
        with pytest.raises(UnsupportedModelError, match="tree"):
            read_forest(text.replace(f"{key}={first}", f"{key}={entry}", 1))
    with pytest.raises(FeatureError, match="width"):
        TreeShap(read_forest(text))(x[:, :2])


def test_without_llvmlite_lightgbm_explains(monkeypatch):
    from serving.scoring import treeshap_code

    x = np.random.default_rng(2).normal(size=(300, 3))
    booster = lgb.train({**QUIET, "objective": "binary"}, lgb.Dataset(x, x[:, 0] > 0), 1)
    treeshap_code.compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert TreeShap.of(booster) is None
    monkeypatch.undo()
    assert TreeShap.of(booster) is not None
