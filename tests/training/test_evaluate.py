"""Metrics against scikit-learn, and invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from training.evaluate import Contact, Scored, calibration_curve, evaluate, lift, metrics_of

ROWS = st.lists(st.tuples(st.booleans(), st.integers(1, 19).map(lambda k: k / 20)), min_size=4, max_size=60).filter(
    lambda rows: 0 < sum(y for y, _ in rows) < len(rows)
)


@settings(deadline=None)
@given(ROWS)
def test_metrics_are_those_of_scikit_learn(rows):
    y, p = (np.array(column, float) for column in zip(*rows, strict=True))
    got = metrics_of(y, p)
    assert got["auroc"] == pytest.approx(roc_auc_score(y, p))
    assert got["log_loss"] == pytest.approx(log_loss(y, p))
    assert got["brier"] == pytest.approx(brier_score_loss(y, p))
    assert got["pr_auc"] == pytest.approx(average_precision_score(y, p))


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_weights_are_repetitions_and_order_does_not_matter(rows, random):
    y, p = (np.array(column, float) for column in zip(*rows, strict=True))
    weight = np.array([random.randint(0, 3) for _ in rows], float)
    weight[np.argmax(y)] = weight[np.argmin(y)] = 1
    repeated = np.repeat(np.arange(len(y)), weight.astype(int))
    shuffled = random.sample(range(len(y)), len(y))
    expected = metrics_of(y[repeated], p[repeated])
    got = metrics_of(y[shuffled], p[shuffled], weight=weight[shuffled])
    for name in set(expected) - {"ece"}:  # whose bins cut repeated rows apart
        assert got[name] == pytest.approx(expected[name]), name


def test_calibration_error_of_perfect_and_of_shifted_probabilities():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.1, 0.8, 200_000)
    y = (rng.uniform(size=p.size) < p).astype(float)
    assert metrics_of(y, p)["ece"] < 0.01
    assert metrics_of(y, p + 0.1)["ece"] == pytest.approx(0.1, abs=0.01)
    assert all(abs(point["mean_prediction"] - point["rate"]) < 0.02 for point in calibration_curve(y, p))


def test_intervals_cover_and_widen_with_repeated_users():
    rng = np.random.default_rng(2)
    p = rng.uniform(size=500)
    y = (rng.uniform(size=500) < p).astype(float)
    single = evaluate(y, p, np.arange(500))
    copied = evaluate(np.tile(y, 4), np.tile(p, 4), np.tile(np.arange(500), 4))
    for name, interval in single.items():
        assert interval.low <= interval.value <= interval.high or name == "ece", (name, interval)
        # The same users seen four times are no new evidence.
        assert copied[name].high - copied[name].low == pytest.approx(interval.high - interval.low, rel=0.35), name


def test_the_interval_is_the_same_for_the_same_seed():
    y, p = np.array([0, 1, 0, 1.0]), np.array([0.2, 0.7, 0.6, 0.9])
    assert evaluate(y, p, list("abcd"), seed=3) == evaluate(y, p, list("abcd"), seed=3)


def test_lift_of_a_perfect_score_is_one_over_the_base_rate():
    y = np.array([1] * 10 + [0] * 90, float)
    assert lift(y, y, 0.1) == pytest.approx(10)


@settings(deadline=None)
@given(ROWS, st.sampled_from([0.05, 0.1, 0.2, 0.5]), st.integers(0, 2**32 - 1))
def test_a_share_that_ends_among_equals_is_the_mean_over_their_orders(rows, share, seed):
    y, p = (np.array(column, float) for column in zip(*rows, strict=True))
    y, p = np.tile(y, 20), np.tile(p, 20)  # so that every share is a whole number of rows
    rng = np.random.default_rng(seed)
    top = round(len(y) * share)
    orders = [np.lexsort((rng.random(len(y)), -p))[:top] for _ in range(400)]
    drawn = np.array([y[best].mean() / y.mean() for best in orders])
    assert lift(y, p, share) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 20 + 1e-9)


def test_the_value_of_a_budget_is_counted_by_hand():
    y, p = np.array([1, 0, 1, 0, 0, 0, 0, 0, 0, 1.0]), np.linspace(1, 0.1, 10)
    # The best 3 of 10 hold 2 labels: 2 x 8 gained, 3 x 2 paid, for 10 users.
    found = Scored(y, p, contact=Contact(0.3, worth=8, cost=2)).metrics(None)
    assert found["value@30"] == pytest.approx((2 * 8 - 3 * 2) / 10 * 1000)
    assert "value@30" not in metrics_of(y, p)
