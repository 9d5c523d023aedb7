"""P008 fires when one origin falls from the others, in order or in level, and knows what seasons do."""

import numpy as np
import pytest

from training.checks.p008_unstable import CHECK
from training.checks.run import look_at


def last(subject):
    frame = subject.forecasts.frame
    return frame["as_of"] == frame["as_of"].max()


def test_a_steady_model_is_silent(subject):
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert outcome.evidence["origins"] == 3


def test_an_order_that_collapsed_blocks(subject):
    frame, rows = subject.forecasts.frame, last(subject)
    order = np.random.default_rng(0).permutation(rows.sum())
    frame.loc[rows, "raw"] = frame.loc[rows, "raw"].to_numpy()[order]
    outcome = look_at(subject, CHECK)
    assert outcome.blocks
    assert "2026-04-27" in outcome.explanation["en"]


@pytest.mark.parametrize(("by", "severity"), [(1.1, "warning"), (4.0, "blocker")])
def test_a_level_that_swings_fires(subject, moved, by, severity):
    frame, rows = subject.forecasts.frame, last(subject)
    frame.loc[rows, "p"] = moved(frame.loc[rows, "p"], by)
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("issue", severity), outcome.explanation["en"]


def test_a_season_is_no_fault(subject, moved):
    frame, rows = subject.forecasts.frame, last(subject)
    frame.loc[rows, "p"] = moved(frame.loc[rows, "p"], 0.5)
    assert look_at(subject, CHECK).status == "passed"


def test_one_origin_is_nothing_to_compare(subject):
    subject.forecasts = type(subject.forecasts)(subject.forecasts.frame[last(subject)], "probability", {})
    assert look_at(subject, CHECK).status == "not_applicable"
    subject.thorough = False
    outcome = look_at(subject, CHECK)
    assert outcome.status == "skipped"
    assert "userops backtest churn" in outcome.next_step["en"]


def test_origins_that_a_search_has_seen_are_named(subject):
    assert "search" not in look_at(subject, CHECK).explanation["en"]
    subject.meta["training"]["search"] = {"touched_until": "2026-04-13T00:00:00+00:00"}
    assert "it has seen 2026-03-30: what is measured there is too good" in look_at(subject, CHECK).explanation["en"]
