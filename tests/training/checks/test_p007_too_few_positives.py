"""P007 fires when a handful of positives carries a metric, or when an interval is stated narrower than it is."""

import numpy as np
import pytest

from training.checks.p007_too_few_positives import CHECK
from training.checks.run import look_at


def keep(subject, positives, negatives):
    frame = subject.forecasts.frame
    last = frame[frame["as_of"] == frame["as_of"].max()]
    kept = [last[last["y"] == 1].head(positives), last[last["y"] == 0].head(negatives)]
    subject.forecasts = type(subject.forecasts)(
        frame.loc[np.concatenate([one.index for one in kept])], "probability", {}
    )


def test_hundreds_of_positives_are_enough(subject):
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert outcome.evidence["heads"][0]["half_width"] == pytest.approx(0.04, abs=0.015)


def test_a_handful_fires(subject):
    keep(subject, 12, 400)
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("issue", "warning")
    assert "only 12 users" in outcome.explanation["en"]


def test_the_rarer_kind_may_be_the_negatives(subject):
    keep(subject, 200, 9)
    assert "only 9 users" in look_at(subject, CHECK).explanation["en"]


def test_a_hundred_is_a_tip_that_says_how_many_would_do(subject):
    keep(subject, 60, 90)
    subject.meta["metrics"] = {}
    outcome = look_at(subject, CHECK)
    assert outcome.status == "tip"
    assert outcome.evidence["heads"][0]["wanted"] > 60


def test_an_interval_that_claims_too_much_fires(subject):
    subject.meta["metrics"]["p_inactive_30d"]["auroc"]["ci"] = [0.798, 0.802]
    outcome = look_at(subject, CHECK)
    assert outcome.status == "issue"
    assert "states ± 0.002" in outcome.explanation["en"]


def test_an_interval_of_another_day_is_not_compared(subject):
    subject.meta["metrics"]["p_inactive_30d"]["auroc"]["ci"] = [0.798, 0.802]
    subject.meta["training"]["split"]["judged_at"] = "2026-03-30T00:00:00+00:00"
    assert look_at(subject, CHECK).status == "passed"
