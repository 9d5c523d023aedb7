"""The paired bootstrap against statistics that are known in closed form."""

import numpy as np
import pytest

from training.evaluate import Scored
from training.resample import gain, resample


def mean_of(values):
    return lambda weight: {"mean": float(np.average(values, weights=weight))}


def test_the_interval_of_a_mean_is_the_one_of_the_textbook():
    values = np.random.default_rng(0).normal(3, 2, 2000)
    found = resample({"x": mean_of(values)}, np.arange(2000), 1000, seed=1).interval("x", "mean")
    half = 1.96 * values.std() / np.sqrt(2000)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert (found.high + found.low) / 2 == pytest.approx(found.value, abs=0.1 * half)


def test_rows_of_one_user_are_drawn_together():
    # Four rows per user that say the same: as wide as one row per user, twice as wide as rows would be.
    rng = np.random.default_rng(2)
    values, users = np.repeat(rng.normal(size=400), 4), np.repeat(np.arange(400), 4)
    clustered = resample({"x": mean_of(values)}, users, 600).interval("x", "mean")
    naive = resample({"x": mean_of(values)}, np.arange(1600), 600).interval("x", "mean")
    assert (clustered.high - clustered.low) / (naive.high - naive.low) == pytest.approx(2, rel=0.12)


def test_a_difference_is_paired():
    # Both share almost all their noise: each alone is uncertain, their difference is not.
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 5, 500)
    found = resample({"a": mean_of(shared + 0.1), "b": mean_of(shared)}, np.arange(500))
    alone, apart = found.interval("a", "mean"), found.difference("a", "b", "mean")
    assert alone.high - alone.low > 0.5
    assert (apart.low, apart.high) == pytest.approx((0.1, 0.1))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(4)
    covered = 0
    for seed in range(120):
        user = rng.normal(size=150)
        rows = np.repeat(user, 3) + rng.normal(size=450)
        found = resample({"x": mean_of(rows)}, np.repeat(np.arange(150), 3), 120, seed).interval("x", "mean")
        covered += found.low <= 0 <= found.high
    assert 0.88 <= covered / 120 <= 0.99


def test_above_zero_is_better_whatever_the_metric():
    y = np.array([0.0] * 50 + [1.0] * 50)
    good, poor = np.where(y == 1, 0.9, 0.1), np.full(100, 0.5)
    found = resample({"good": Scored(y, good).metrics, "poor": Scored(y, poor).metrics}, np.arange(100), 50)
    for metric in ("auroc", "pr_auc", "log_loss", "brier", "lift@10"):
        assert found.difference("good", "poor", metric).low > 0, metric
        assert found.difference("poor", "good", metric).high < 0, metric
    assert gain("bias", np.array(-0.1), np.array(0.3)) == pytest.approx(0.2)


def test_draws_without_a_label_leave_no_hole():
    y = np.array([1.0, 0, 0])
    found = resample({"x": Scored(y, np.array([0.9, 0.2, 0.1])).metrics}, ["a", "b", "c"], 60).interval("x", "auroc")
    assert (found.value, found.low, found.high) == (1, 1, 1)
    none = resample({"x": Scored(np.zeros(3), np.full(3, 0.1)).metrics}, ["a", "b", "c"], 20).interval("x", "auroc")
    assert np.isnan([none.value, none.low, none.high]).all()
