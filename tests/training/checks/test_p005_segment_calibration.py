"""P005 fires on a part whose odds are off, not on a season, not on chance, not on parts of ten people."""

import numpy as np
import pytest

from training.checks.p005_segment_calibration import CHECK
from training.checks.run import look_at


def spoil(subject, moved, by, rows):
    frame = subject.forecasts.frame
    frame.loc[rows(frame), "p"] = moved(frame.loc[rows(frame), "p"], by)


def test_a_calibrated_shop_is_silent(subject):
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert len(outcome.evidence["parts"]) > 5


@pytest.mark.parametrize(("by", "severity"), [(-1.0, "warning"), (3.0, "blocker")])
def test_a_part_that_is_off_fires(subject, moved, by, severity):
    spoil(subject, moved, by, lambda frame: frame["segment.value"] == "none")
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("issue", severity), outcome.explanation["en"]
    assert "value none" in outcome.explanation["en"]


def test_a_season_that_surprised_everybody_is_no_part(subject, moved):
    for at, by in zip(sorted(subject.forecasts.frame["as_of"].unique()), (0.4, -0.3, 0.2), strict=True):
        spoil(subject, moved, by, lambda frame, at=at: frame["as_of"] == at)
    assert look_at(subject, CHECK).status == "passed"


def test_everybody_off_at_every_origin_fires(subject, moved):
    spoil(subject, moved, 5.0, lambda frame: frame["head"] != "")
    outcome = look_at(subject, CHECK)
    assert outcome.status == "issue"
    assert "everybody" in outcome.explanation["en"]


def test_a_hundred_random_parts_raise_no_alarm(subject):
    frame, rng = subject.forecasts.frame, np.random.default_rng(4)
    names = {user: f"g{rng.integers(100)}" for user in frame["user_id"].unique()}
    frame["segment.store"] = frame["user_id"].map(names)
    frame["y"] = (rng.random(len(frame)) < frame["p"]).astype(float)
    assert look_at(subject, CHECK).status == "passed"


def test_nobody_to_judge_is_not_a_pass(subject):
    last = subject.forecasts.frame.tail(8)
    subject.forecasts = type(subject.forecasts)(last, "probability", {})
    assert look_at(subject, CHECK).status == "not_applicable"


def test_amounts_are_held_by_their_ratio(subject):
    frame, rng = subject.forecasts.frame, np.random.default_rng(0)
    frame["p"] = 50.0
    frame["y"] = rng.gamma(1.0, 50.0, len(frame))
    frame.loc[frame["segment.value"] == "none", "y"] *= 4.0
    subject.forecasts = type(subject.forecasts)(frame, "spend", {})
    outcome = look_at(subject, CHECK)
    assert outcome.status == "issue"
    assert outcome.evidence["unit"] == "log of the ratio"
