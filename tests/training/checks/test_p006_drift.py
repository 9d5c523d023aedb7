"""P006 fires when people or a source changed, and is silent when only time has passed."""

from datetime import timedelta

import numpy as np

from training.checks.p006_drift import CHECK
from training.checks.run import look_at


def test_a_shop_that_goes_on_as_before_is_silent(subject, scorer):
    subject.scorer = scorer
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert outcome.evidence["to"].startswith("2026-06-01")


def test_a_source_that_changed_its_unit_fires(subject, scorer):
    subject.scorer = scorer
    frame = subject.since
    today = frame["as_of"] == frame["as_of"].max()
    frame.loc[today, "days_since_last_activity"] *= 24.0  # hours, where days were learned
    frame.loc[today, "days_since_last_visit"] *= 24.0
    frame.loc[today, "days_since_last_activity"] = frame.loc[today, "days_since_last_activity"].clip(upper=90)
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("issue", "warning")
    assert "days_since_last_activity" in {one["name"] for one in outcome.evidence["drifted"]}
    assert "userops train churn" in outcome.next_step["en"]


def test_ten_people_are_no_drift(subject, scorer):
    subject.scorer = scorer
    frame = subject.since
    today = frame["as_of"] == frame["as_of"].max()
    few = np.flatnonzero(today & (frame["days_since_last_activity"] < 60))[:10]
    subject.since = frame.iloc[[*np.flatnonzero(~today), *few]]
    assert look_at(subject, CHECK).status == "passed"


def test_without_time_there_is_no_drift_to_see(subject, monkeypatch):
    monkeypatch.setattr(type(subject), "today", subject.trained_at - timedelta(days=1))
    assert look_at(subject, CHECK).status == "not_applicable"
