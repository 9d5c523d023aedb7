"""P005 fires on a part whose odds are off, not on a season, not on chance, not on parts of ten people."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from training.checks.p005_segment_calibration import CHECK
from training.checks.run import look_at
from training.forecasts import Forecasts


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


@pytest.mark.parametrize(("by", "severity"), [(-0.6, "warning"), (0.6, "warning"), (-1.3, "blocker")])
def test_everybody_off_at_every_origin_fires(subject, moved, by, severity):
    # Among many parts, as in any shop: whether everybody is off does not depend on how many there are.
    frame = subject.forecasts.frame
    frame["segment.store"] = "g" + (frame["user_id"].str.slice(-1)).astype(str)
    spoil(subject, moved, by, lambda frame: frame["head"] != "")
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("issue", severity), outcome.explanation["en"]
    assert "everybody" in outcome.explanation["en"]


def drawn(by_origin, users=3000, seed=0):
    """Forecasts of which the truth is drawn; log-odds at each origin are off by so much for everybody."""
    rng = np.random.default_rng(seed)
    parts = []
    for k, by in enumerate(by_origin):
        margin = rng.normal(-0.5, 1.0, users)
        told = {
            "user_id": [f"u{n}" for n in range(users)],
            "as_of": pd.Timestamp("2026-01-05") + pd.Timedelta(14 * k, "D"),
        }
        told |= {"head": "p", "y": (rng.random(users) < expit(margin + by)).astype(float), "p": expit(margin)}
        parts.append(pd.DataFrame(told | {"segment.store": [f"s{n % 40}" for n in range(users)]}))
    return Forecasts(pd.concat(parts, ignore_index=True), "probability", {})


@pytest.mark.parametrize(
    ("by_origin", "status", "severity"),
    [
        ((-1.06, -1.06, -1.06), "issue", "blocker"),
        ((-0.9, -1.1, -1.2), "issue", "blocker"),
        ((0.4, 0.5, 0.4), "issue", "warning"),
        ((0.8, -0.8, 0.8), "passed", "warning"),
        ((1.5, 0.0, 0.0), "passed", "warning"),
        ((0.15, 0.15, 0.15), "passed", "warning"),
        # Two origins alike may be one season.
        ((-1.0, -1.3), "passed", "warning"),
    ],
)
def test_everybody_is_told_from_a_season(subject, by_origin, status, severity):
    subject.forecasts = drawn(by_origin)
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == (status, severity), outcome.explanation["en"]


def test_seasons_that_move_the_level_both_ways_raise_no_alarm(subject):
    rng, alarms = np.random.default_rng(11), 0
    for seed in range(40):
        subject.forecasts = drawn(rng.normal(0, 0.4, 3), users=600, seed=seed)
        subject.forecasts.frame.drop(columns="segment.store", inplace=True)
        alarms += look_at(subject, CHECK).status == "issue"
    assert alarms <= 4


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
