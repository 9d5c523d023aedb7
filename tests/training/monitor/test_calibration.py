"""Whether probabilities are still true: alarms when they are not, and only then."""

from datetime import timedelta

import numpy as np
import pytest
from scipy.special import expit

from features.periods import as_utc
from training.monitor.calibration import calibration_shift, matured
from training.monitor.freshness import Freshness
from training.monitor.monitor import verdict_of

T = as_utc("2026-06-01")
FRESH = Freshness("2026-06-01", None, None, 3.0, 48.0)


def judged(seed, shift=0.0, order=1.0, n=1200, ci=None):
    """Users whose outcome follows ``order * margin + shift`` while the model says ``margin``; two rows each."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(n // 2), 2)
    margin = rng.normal(-0.5, 1.2, n)
    y = (rng.random(n) < expit(order * margin + shift)).astype(float)
    return calibration_shift("p", y, expit(margin), margin, users, [T], ci, seed)


def test_true_probabilities_raise_no_alarm():
    found = [judged(seed) for seed in range(12)]
    assert {one.status for one in found} == {"true"}
    # What two fitted numbers win on the rows they were fitted to is taken off.
    assert abs(np.mean([one.loss[0] for one in found])) < 0.001


def test_a_shifted_level_is_drift_and_a_slight_one_is_not():
    found = judged(0, shift=0.8)
    assert found.status == "drifted"
    assert found.observed > found.mean_prediction + 0.1
    verdict, reasons = verdict_of([], [found], FRESH)
    assert (verdict, [one["code"] for one in reasons]) == ("drift", ["calibration"])
    assert "p" in reasons[0]["zh"]
    assert judged(0, shift=0.1).status == "true"


def test_a_lost_order_is_drift_of_its_own():
    found = judged(0, order=0.55, ci=(0.78, 0.82), n=4000)
    assert found.status in ("worse_order", "drifted")
    assert found.auroc[2] < 0.78


def test_few_labels_say_nothing():
    assert judged(0, shift=3.0, n=40).status == "not_yet"


def test_old_features_are_told_but_are_no_drift():
    old = Freshness("2026-06-01", None, "2026-05-01", 744.0, 48.0)
    assert verdict_of([], [], old)[0] == "stale"
    assert verdict_of([], [judged(0)], FRESH) == ("quiet", [])


@pytest.mark.parametrize(("days", "expected"), [(29, 0), (30, 1), (43, 1), (44, 2), (400, 6)])
def test_instants_are_judged_once_their_windows_are_over(days, expected):
    found = matured(T, T + timedelta(days=days), 30, 14)
    assert len(found) == expected
    assert all(T <= at <= T + timedelta(days=days - 30) for at in found)
