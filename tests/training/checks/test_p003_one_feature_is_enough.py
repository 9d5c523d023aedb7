"""P003 fires when a rule on one feature orders users as well as the model, and says when it cannot tell."""

from dataclasses import replace

import numpy as np

from training.checks.p003_one_feature_is_enough import CHECK
from training.checks.run import look_at


def spoil(subject, noise):
    """Let the model know what one feature says, and nothing else: in the past and at the judged origin."""
    rng = np.random.default_rng(0)
    for data in (subject.past, subject.present):
        silent = (~(data.frame["activity_wait_days"] <= 30)).astype(float)
        data.frame["clicks_90d"] = silent + rng.normal(0, noise, len(silent))
    known = subject.present.frame.set_index("user_id")["clicks_90d"]
    frame = subject.forecasts.frame
    last = frame["as_of"] == frame["as_of"].max()
    frame.loc[last, "raw"] = known.loc[frame.loc[last, "user_id"]].to_numpy()


def test_a_model_that_knows_more_is_silent(subject, learned):
    # Five features of which none is enough: the shop's own recency nearly is, with so few people.
    frame = subject.forecasts.frame
    last = frame["as_of"] == frame["as_of"].max()
    rng = np.random.default_rng(1)
    frame.loc[last, "raw"] = frame.loc[last, "y"] + rng.normal(0, 0.6, last.sum())
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert outcome.evidence["heads"][0]["difference"]["ci"][0] > 0


def test_a_shop_whose_recency_says_nearly_all_gets_no_more_than_a_tip(subject):
    assert look_at(subject, CHECK).status in ("passed", "tip")


def test_a_golden_feature_fires(subject):
    spoil(subject, 0.1)
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("issue", "warning")
    assert outcome.evidence["heads"][0]["feature"] == "clicks_90d"


def test_too_few_users_to_tell_are_a_tip(subject):
    spoil(subject, 0.9)
    subject.present = replace(subject.present, frame=subject.present.frame.sample(150, random_state=0))
    outcome = look_at(subject, CHECK)
    assert outcome.status == "tip"
    assert outcome.severity == "tip"
    assert "too few" in outcome.explanation["en"]
