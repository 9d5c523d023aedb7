"""Stability is counted by hand, and swapped twins are one reason."""

from __future__ import annotations

import numpy as np
import pytest

from training.desk.stability import other_seeds, stability_of

NAMES = ["a", "b", "c", "d"]


def test_the_same_contributions_agree_entirely():
    phi = np.random.default_rng(0).normal(size=(50, 4))
    found = stability_of(NAMES, [], phi, {8: phi})
    assert (found["seeds"], found["top"]) == ([8], 3)
    assert found["agreement"] == found["overlap"] == found["first"] == 1.0
    assert found["rank_correlation"] == pytest.approx(1.0)
    assert found["features"] == dict.fromkeys(found["features"], 1.0)


def test_counted_by_hand():
    own = np.array([[4.0, 3, 2, 1], [4, 3, 2, 1]])
    other = np.array([[4.0, 3, 2, 1], [1, 3, 2, 4]])  # of the second row, a goes and d comes
    found = stability_of(NAMES, [], own, {1: other})
    assert found["agreement"] == 0.5
    assert found["overlap"] == pytest.approx((3 + 2) / 6)
    assert found["first"] == 0.5


def test_what_moves_between_twins_is_no_change():
    own = np.array([[4.0, 0, 2, 1]] * 30)
    other = np.array([[0, 4.0, 2, 1]] * 30)
    groups = [{"id": "g1", "features": ["a", "b"]}]
    assert stability_of(NAMES, groups, own, {1: other})["agreement"] == 1.0
    assert stability_of(NAMES, [], own, {1: other})["first"] == 0.0


def test_the_mean_over_seeds():
    own = np.array([[4.0, 3, 2, 1]])
    found = stability_of(NAMES, [], own, {1: own, 2: own[:, ::-1]})
    assert found["agreement"] == 0.5
    assert found["rank_correlation"] == pytest.approx(0.0)


def test_features_that_leave_the_ten_heaviest_are_told():
    names = [f"f{k}" for k in range(12)]
    own = np.arange(12, 0, -1)[None, :].astype(float)
    other = own.copy()
    other[0, [9, 10]] = other[0, [10, 9]]
    found = stability_of(names, [], own, {1: other})["features"]
    assert len(found) == 10
    assert found["f9"] == 0.0
    assert found["f8"] == 1.0


def test_other_seeds_are_others():
    assert 7 not in other_seeds(7)
    assert other_seeds(7)
