"""Groups of correlated features: every two of a group are alike, and a planted pair is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.desk.groups import LEAST, correlations, groups_of, ranked_correlation


def planted(n=200, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return np.column_stack([a, rng.normal(size=n), -np.exp(a), a + rng.normal(0, 0.05, n), np.ones(n)])


def test_a_planted_group_is_found_whatever_its_direction_and_scale():
    found = groups_of(planted(), ["a", "alone", "fallen", "near", "constant"], [0.1, 0.5, 0.2, 0.1, 0.1])
    assert [one["features"] for one in found] == [["fallen", "a", "near"]]
    assert found[0]["id"] == "g1"
    assert found[0]["share"] == pytest.approx(0.4)
    assert found[0]["least_correlation"] > 0.98


def test_the_heaviest_group_comes_first():
    x = planted()
    y = np.column_stack([x[:, 0], x[:, 2], x[:, 1], 2 * x[:, 1]])
    found = groups_of(y, ["a", "b", "c", "d"], [0.1, 0.1, 0.4, 0.4])
    assert [one["features"] for one in found] == [["c", "d"], ["a", "b"]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from([0.0, 0.3]))
def test_any_two_of_a_group_are_correlated_enough_and_no_feature_is_in_two(seed, width, missing):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(120, 2))
    x = common[:, rng.integers(0, 2, width)] + rng.normal(size=(120, width)) * rng.uniform(0, 1, width)
    x[rng.random(x.shape) < missing] = np.nan
    names = [f"f{k}" for k in range(width)]
    alike = np.abs(correlations(x))
    found = groups_of(x, names, [1 / width] * width)
    members = [name for one in found for name in one["features"]]
    assert len(members) == len(set(members))
    for one in found:
        places = [names.index(name) for name in one["features"]]
        pairs = [alike[a, b] for a in places for b in places if a != b]
        assert min(pairs) >= LEAST - 1e-9
        assert one["least_correlation"] == pytest.approx(min(pairs))


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_correlations_are_spearmans_over_the_rows_that_know_both(missing):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 7, size=(150, 5)).astype(float)
    x[rng.random(x.shape) < missing] = np.nan
    expected = pd.DataFrame(x).corr("spearman").to_numpy()
    np.testing.assert_allclose(correlations(x), expected, atol=1e-12)
    assert ranked_correlation(x[:, 0], x[:, 1]) == pytest.approx(expected[0, 1])


def test_two_that_few_rows_know_are_not_believed():
    x = np.full((200, 2), np.nan)
    x[:30] = np.arange(30)[:, None]
    assert correlations(x)[0, 1] == 0.0
    assert groups_of(x, ["a", "b"], [0.5, 0.5]) == []
