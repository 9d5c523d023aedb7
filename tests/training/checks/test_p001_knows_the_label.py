"""P001 fires when a feature changes without the future, or orders users as only the answer can."""

import numpy as np

from training.checks.p001_knows_the_label import CHECK, _directed
from training.checks.run import look_at


def test_a_healthy_shop_is_silent(subject):
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert outcome.evidence["users"] > 1000
    assert outcome.evidence["strongest_alone"][0]["auroc"]["value"] < 0.97


def test_a_feature_that_looks_ahead_is_named(subject):
    frame = subject.present.frame
    ahead = (frame["activity_wait_days"] <= 30).astype(float)
    frame["views_7d"] = frame["views_7d"] + 0.5 * ahead  # a little of the label: not enough to stand out
    outcome = look_at(subject, CHECK)
    assert outcome.blocks
    assert set(outcome.evidence["changed_without_the_future"]) == {"views_7d"}
    assert not outcome.evidence["implausible"]
    assert "views_7d" in outcome.next_step["zh"]


def test_a_feature_that_is_the_label_is_implausible(subject):
    frame = subject.present.frame
    frame["contacts_90d"] = np.where(frame["activity_wait_days"] <= 30, np.nan, 1.0)  # it knows by being absent
    outcome = look_at(subject, CHECK)
    assert outcome.blocks
    assert {one["feature"] for one in outcome.evidence["implausible"]} == {"contacts_90d"}


def test_absent_values_stand_where_their_rate_belongs():
    values, y = np.array([1.0, 2, 3, np.nan]), np.array([0.0, 0, 1, 1])
    assert _directed(values, y).argmax() == 3
    assert _directed(-values, y).argmax() == 3
    assert _directed(values, 1 - y).argmin() == 3
    assert (_directed(np.full(4, np.nan), y) == 0).all()


def test_pairs_have_no_features_to_ask(subject):
    subject.kind = "interest"
    outcome = look_at(subject, CHECK)
    assert outcome.status == "not_applicable"
    assert "历史" in outcome.explanation["zh"] or "行为" in outcome.explanation["zh"]
