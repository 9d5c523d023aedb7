"""Who opted out is in no audience and hears nothing; of whom was forgotten nothing is told and nothing written."""

from __future__ import annotations

import dataclasses
import io

import pyarrow.parquet as pq
import pytest

from features.forget import forget_online
from serving import service

GONE = "u31"


def audience(decider, **asked):
    asked = {"goal": "churn", "top_k": 220, **asked}
    answer = decider.client.post("/v1/audiences:build", json=asked)
    assert answer.status_code == 200, answer.text
    return answer


def members(decider, **asked):
    return {row["user_id"] for row in audience(decider, **asked).json()["rows"]}


def test_an_unsubscription_of_everything_closes_every_way_out(decider):
    user = sorted(members(decider))[0]
    before = decider.ask(user, context={"channel": "app"})
    assert before["status"] == "decided"
    assert decider.feedback(before, "unsubscribe", attributes={"scope": "all"})["accepted"] == 1
    after = decider.ask(user, context={"channel": "app"})
    assert (after["status"], after["status_reason"], after["offers"]) == ("suppressed", "OPTED_OUT", [])
    assert user not in members(decider)
    table = pq.read_table(io.BytesIO(audience(decider, format="parquet").content))
    assert user not in table["user_id"].to_pylist()
    assert user not in members(decider, goal="interest", category="tea")
    # Scores are no approach: they are still told to whoever may ask, until personalisation is off.
    assert decider.client.post("/v1/score/churn", json={"user_ids": [user]}).json()["users"][0]["known"]


@pytest.mark.parametrize("asked", [{}, {"goal": "repurchase"}, {"goal": "interest", "category": "tea"}])
def test_no_audience_holds_whom_personalisation_is_off_for(decider, nbo_log, asked):
    user = sorted(members(decider, **asked))[-1]
    nbo_log.set_personalization(user, False, 1)
    assert user not in members(decider, **asked)


@pytest.fixture(scope="module")
def forgotten(decider, nbo_log):
    before = decider.ask(GONE)
    nbo_log.identify([("wecom", "x31", GONE)])
    nbo_log.forget([GONE, "wecom:x31"], 1)
    forget_online(dataclasses.replace(service.CONFIG, home=decider.home), [GONE])
    return before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/next-best-offer", {"user_id": GONE}),
        ("POST", "/v1/next-best-offer", {"identity": {"namespace": "wecom", "id": "x31"}}),
        ("PUT", f"/v1/users/{GONE}/personalization", {"personalization": "off"}),
        ("PUT", f"/v1/users/{GONE}/consents/sms", {"consent": "given"}),
        ("DELETE", f"/v1/users/{GONE}/tags/interest:tea", None),
    ],
)
def test_nothing_that_would_be_written_of_them_is_answered(decider, forgotten, nbo_log, method, path, body):
    answer = decider.client.request(method, path, json=body)
    assert answer.status_code == 410, answer.text
    assert answer.json()["type"] == "urn:userops:problem:forgotten"
    assert GONE not in answer.text
    assert nbo_log.listed(GONE) == []


def test_they_are_unknown_to_whatever_only_reads(decider, forgotten, nbo_log):
    user = decider.client.post("/v1/score/churn", json={"user_ids": [GONE]}).json()["users"][0]
    assert (user["known"], user["status_reason"]) == (False, "UNKNOWN_USER")
    assert decider.client.get(f"/v1/users/{GONE}/profile").json()["profile"] is None
    assert decider.client.get(f"/v1/decisions/{forgotten['decision_id']}").status_code == 404
    for asked in ({}, {"goal": "interest", "category": "tea"}):
        assert GONE not in members(decider, **asked)


def test_live_events_are_refused_one_by_one_and_feedback_finds_no_decision(decider, forgotten):
    own = {"ts": "2026-11-21T10:11:00Z", "type": "view", "item_id": "tea_1"}
    events = [{"event_id": "g1", "user_id": GONE, **own}, {"event_id": "g2", "user_id": "u32", **own}]
    events.append({"event_id": "g3", "identity": {"namespace": "wecom", "id": "x31"}, **own})
    told = decider.client.post("/v1/events", json={"events": events}).json()
    assert (told["accepted"], told["duplicates"]) == (1, 0)
    refused = {one["event_id"]: (one["index"], one["error"], one["field"]) for one in told["rejected"]}
    assert refused == {"g1": (0, "FORGOTTEN", "events[0].user_id"), "g3": (2, "FORGOTTEN", "events[2].user_id")}
    body = {
        "event_id": "g9",
        "decision_id": forgotten["decision_id"],
        "offer_id": "x",
        "type": "click",
        "ts": own["ts"],
    }
    told = decider.client.post("/v1/feedback", json={"events": [body]}).json()
    assert [one["error"] for one in told["rejected"]] == ["UNKNOWN_DECISION"]


def test_no_metric_holds_an_id(decider, forgotten):
    hostile = 'x"} 1\nuserops_forged{a="b'
    assert decider.client.post("/v1/score/churn", json={"user_ids": [hostile]}).status_code in (200, 400)
    decider.client.get(f"/v1/users/{hostile.replace(chr(10), '%0a')}/profile")
    told = decider.client.get("/metrics").text
    assert "userops_" in told
    assert "forged" not in told
    assert GONE not in told
