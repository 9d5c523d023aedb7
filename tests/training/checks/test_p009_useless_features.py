"""P009 names features that say nothing, leaves alone those that the source does not give, and reports on all."""

import numpy as np
import pytest

from features.catalog import NAMES
from training.checks import usefulness
from training.checks.p009_useless_features import ALL_UNUSED, CHECK, REPORT
from training.checks.run import look_at
from training.checks.usefulness import uses


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Boosters of ten trees: what is without information is so for them too."""
    monkeypatch.setattr(usefulness, "TREES", 10)


def forget(subject):
    """Let the rows be stacked anew from the spoiled frames."""
    for name in ("judged", "learned"):
        subject.__dict__.pop(name, None)


def used(subject, scorer):
    """Leave the version only the features that move a score, and name them: with few people not all do."""
    subject.scorer = scorer
    idle = [one.name for one in uses(subject, 1e-5) if one.status in ("unused", "constant")]
    for data in (subject.past, subject.present):
        data.frame[idle] = np.nan  # as if the source did not give them
    forget(subject)
    return [name for name in NAMES if name not in idle]


def test_features_that_all_say_something_are_silent(subject, scorer):
    used(subject, scorer)
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert abs(sum(one["share"] for one in outcome.evidence["features"]) - 1) < 1e-9
    assert {one["what"] for one in outcome.evidence["groups"]} >= {"recency", "monetary", "calendar"}
    page = subject.files[REPORT]
    assert "days_since_last_activity" in page
    assert "对数损失增量" in page


def test_one_value_for_everybody_is_useless(subject, scorer):
    used(subject, scorer)
    for data in (subject.past, subject.present):
        data.frame["contacts_90d"] = 7.0
    forget(subject)
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("tip", "tip")
    assert outcome.evidence["idle"] == ["contacts_90d"]
    growth = next(one for one in outcome.evidence["groups"] if one["what"] == ALL_UNUSED)["growth"]
    assert growth["value"] == 0.0


def test_what_nobody_has_is_absent_and_no_fault(subject, scorer):
    kept = used(subject, scorer)
    status = {one.name: one.status for one in uses(subject, 1e-5)}
    assert {name for name, one in status.items() if one == "absent"} >= set(NAMES) - set(kept)
    assert status["season_index"] == "absent"


def test_pairs_have_no_catalogue(subject):
    subject.kind = "interest"
    assert look_at(subject, CHECK).status == "not_applicable"
