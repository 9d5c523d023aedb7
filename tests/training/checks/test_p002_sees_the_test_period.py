"""P002 fires on labels that were not over, rows that stand twice, and versions judged by what they had seen."""

from dataclasses import replace

import pandas as pd
import pytest

from features.periods import as_utc
from training.checks.p002_sees_the_test_period import CHECK
from training.checks.run import look_at
from training.search.origins import origins_of

HEAD_ORIGIN = "2026-04-27T00:00:00+00:00"


def test_a_split_by_the_calendar_is_silent(subject):
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert len(outcome.evidence["origins"]) == 3


def test_a_label_that_was_not_over_fires(subject):
    subject.forecasts.log["origins"][1] = {
        "origin": "2026-04-13T00:00:00+00:00",
        "families": {"inactive": {"rows": 1000, "last_label_end": "2026-04-20T00:00:00Z"}},
    }
    outcome = look_at(subject, CHECK)
    assert outcome.blocks
    assert "2026-04-20" in outcome.explanation["en"]


def test_a_row_that_stands_twice_fires(subject):
    frame = subject.forecasts.frame
    subject.forecasts = type(subject.forecasts)(pd.concat([frame, frame.head(3)]), "probability", subject.forecasts.log)
    outcome = look_at(subject, CHECK)
    assert outcome.blocks
    assert outcome.evidence["doubled_rows"] == 3


@pytest.mark.parametrize(
    ("where", "content", "said"),
    [
        (("judged",), {"inactive": {"rows": 10**6}}, "after learning from 1000000 rows"),
        (("search",), {"searched_on": [HEAD_ORIGIN]}, "the search chose parameters at 2026-04-27"),
        (("search",), {"searched_on": [], "confirmed_on": [HEAD_ORIGIN]}, "the search was confirmed at 2026-04-27"),
        # Before the judged origin, but the label of 30 days ends one day after it.
        (("search",), {"confirmed_on": ["2026-03-29T00:00:00+00:00"]}, "by labels until 2026-04-28"),
        (("split", "labels_known_until"), "2026-05-01T00:00:00+00:00", "only those until 2026-05-01 were known"),
        (("split", "labels_known_until"), "2027-01-01T00:00:00+00:00", "later than now"),
        (("split", "first_origin"), HEAD_ORIGIN, "learned from 2026-04-27 on and was judged at 2026-04-27"),
    ],
)
def test_what_the_version_says_of_itself_is_held_against_the_clock(subject, where, content, said):
    place = subject.meta["training"]
    for name in where[:-1]:
        place = place[name]
    place[where[-1]] = content
    outcome = look_at(subject, CHECK)
    assert outcome.blocks
    assert said in outcome.explanation["en"]


def test_rows_are_not_counted_against_other_data(subject):
    subject.meta["training"]["judged"] = {"inactive": {"rows": 10**6}}
    subject.meta["training"]["data"]["data_hash"] = "sha256:other"
    assert look_at(subject, CHECK).status == "passed"


def test_a_search_that_ended_before_the_judged_origin_is_silent(subject, model):
    rule = replace(model.origins, every_days=14, warm_up_days=30)
    searchable = replace(model, origins=rule)
    searched, later, until, _ = origins_of(searchable, as_utc("2025-10-27"), as_utc("2026-05-31"))
    subject.meta["training"]["split"]["judged_at"] = until.isoformat()
    said = {"searched_on": searched, "confirmed_on": later}
    subject.meta["training"]["search"] = {key: [at.isoformat() for at in many] for key, many in said.items()}
    assert look_at(subject, CHECK).status == "passed"
    # Told by days alone, as older versions do.
    subject.meta["training"]["search"] = {key: [f"{at:%Y-%m-%d}" for at in many] for key, many in said.items()}
    assert look_at(subject, CHECK).status == "passed"
