"""The wall clock jumps while the service runs: nothing is decided twice, counted twice or called fresh that is old."""

from __future__ import annotations

from datetime import timedelta

import pytest

from serving.live import Live


@pytest.fixture
def jump(decider, monkeypatch):
    """Let the clock of the service be ``by`` from where it was."""
    now = Live.now
    return lambda by: monkeypatch.setattr(Live, "now", lambda live: now(live) + by)


def scores(decider):
    told = decider.client.post("/v1/score/churn", json={"user_ids": ["u1", "u2"], "explain": {"level": "none"}}).json()
    return told["features"]["stale"], [
        {name: head["p"] for name, head in one["scores"].items()} for one in told["users"]
    ]


def test_forward_is_named_stale_and_back_decides_nothing_twice(decider, jump):
    stale, before = scores(decider)
    assert stale == []
    first = decider.post(user_id="u1", request_id="clock")
    jump(timedelta(days=3))
    assert scores(decider) == (["u1", "u2"], before)
    assert decider.ask("u1")["features"]["stale"] == ["u1"]
    jump(timedelta(hours=-1))
    # Published after this present: as old as can be.
    assert scores(decider) == ([], before)
    assert decider.post(user_id="u1", request_id="clock").content == first.content
    early = decider.ask("u1")
    assert early["decision_id"] != first.json()["decision_id"]
    told = decider.feedback(early, "impression", event_id="clock-e", ts=early["decided_at"])
    again = decider.feedback(early, "impression", event_id="clock-e", ts=early["decided_at"])
    assert [(one["accepted"], one["duplicates"]) for one in (told, again)] == [(1, 0), (0, 1)]
    jump(timedelta())
    assert scores(decider) == ([], before)
    assert decider.post(user_id="u1", request_id="clock").content == first.content
