"""What was decided can be decided again, bit for bit; and what another release would have said."""

from __future__ import annotations

import dataclasses
import itertools
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from features.catalog import digest
from serving import service
from serving.schemas_decision import DecisionRecord, ExplainedDecision, ReplayedDecision
from serving.scoring import write_release
from serving.scoring.release import make_current

DAYS = 7


@pytest.fixture(scope="module")
def week(decider):
    """Seven days of traffic: every kind of request, with feedback and live events in between."""
    rng = np.random.default_rng(3)
    live = service._rest.state.live
    held = live.config
    decisions = []
    start = datetime(2026, 11, 21, 11, tzinfo=UTC)
    for hour in range(DAYS * 24):
        if hour % 2:
            continue
        object.__setattr__(held, "now", start + timedelta(hours=hour))
        at = held.now.isoformat()
        user = f"u{rng.integers(0, 60)}" if rng.random() < 0.9 else f"stranger{rng.integers(3)}"
        body = {
            "user_id": user,
            "limit": int(rng.integers(1, 6)),
            "context": {"channel": str(rng.choice(["app", "sms", "store"])), "placement": "home"},
            "policy": {"exploration": {"mode": str(rng.choice(["epsilon", "softmax"])), "epsilon": 0.1}},
            "explain": {"level": str(rng.choice(["none", "reason_codes", "full"])), "lang": "en"},
            "personalization": "on" if rng.random() < 0.9 else "off",
        }
        if rng.random() < 0.3:
            body["candidates"] = [{"offer_id": f"o_tea_{k}"} for k in range(4)] + [
                {"offer_id": "c_fruit", "value": 9.0}
            ]
        if rng.random() < 0.2:
            body["context"]["store_id"] = "s1"
        if rng.random() < 0.1:
            body["timeout_ms"] = 1
        answer = decider.post(**body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        decisions.append(told["decision_id"])
        if told["offers"]:
            kind = str(rng.choice(["impression", "click", "order", "not_interested", "accept"]))
            decider.feedback(told, kind, ts=at)
        event = {"event_id": f"w{hour}", "user_id": user, "type": "purchase", "item_id": "fruit_1", "ts": at}
        if rng.random() < 0.2:
            assert decider.client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
    return decisions


def replay(decider, decision_id, **asked):
    answer = decider.client.post(f"/v1/decisions/{decision_id}:replay", json=asked)
    assert answer.status_code == 200, answer.text
    ReplayedDecision.model_validate(answer.json())
    return answer.json()


def test_a_week_replays_bit_for_bit(decider, week):
    kinds = set()
    for decision_id in week:
        told = replay(decider, decision_id)
        assert told["identical"], told["differences"]
        assert told["kind"] == "replay"
        kinds.add((told["decision"]["status"], told["decision"]["status_reason"]))
    assert {"decided", "fallback", "suppressed"} <= {status for status, _ in kinds}


def test_a_record_holds_what_was_known(decider, week):
    record = decider.client.get(f"/v1/decisions/{week[0]}").json()
    DecisionRecord.model_validate(record)
    assert record["response"]["decision_id"] == week[0]
    assert record["inputs"]["user_id"] == record["user_id"]
    assert len(record["vector"]) > 50
    unknown = decider.client.get("/v1/decisions/d_nothing")
    assert (unknown.status_code, unknown.json()["field"]) == (404, "decision_id")


def test_a_changed_bit_is_told(decider, week, monkeypatch):
    record = next(
        one
        for one in (decider.client.get(f"/v1/decisions/{decision_id}").json() for decision_id in week)
        if one["status"] == "decided" and one["inputs"]["candidates"] is None
    )
    log = service._rest.state.live.log()
    row = log.decision(record["decision_id"])
    inputs = json.loads(row.inputs)
    inputs["limit"] += 1
    altered = dataclasses.replace(row, inputs=json.dumps(inputs).encode())
    monkeypatch.setattr(type(log), "decision", lambda self, decision_id: altered)
    told = replay(decider, record["decision_id"])
    assert not told["identical"]
    assert any(one["path"].startswith("offers") for one in told["differences"])


def test_another_policy_says_what_it_would_have_offered(decider, week, all_models, documents):
    first = (decider.home / "releases" / "current").readlink().name
    changed = documents(arbitration={"objective": "conversion", "alpha": 1.0, "lever_range": [0.5, 2.0],
                                     "context_weight_range": [0.0, 5.0], "min_expected_value": 0.0,
                                     "sell_through_other": 0.1, "default_margin": 0.3}, version="other")  # fmt: skip
    at = datetime(2026, 11, 22, tzinfo=UTC)
    second = write_release(decider.home / "releases", all_models, digest(), at, {"alias": "champion"}, changed)
    make_current(decider.home / "releases", first)
    told = [replay(decider, decision_id, policy=second) for decision_id in week[:20]]
    assert {one["kind"] for one in told} == {"counterfactual"}
    assert {one["policy_version"] for one in told} == {"other"}
    whole = replay(decider, week[0], release=second)
    assert whole["release_id"] == second
    for wrong in ("nowhere", "..", "../releases", "."):
        answer = decider.client.post(f"/v1/decisions/{week[0]}:replay", json={"release": wrong})
        assert (answer.status_code, answer.json()["field"]) == (404, "release"), wrong


def test_the_explanation_walks_from_the_base_to_the_score(decider, week):
    seen = 0
    for decision_id in week[:25]:
        answer = decider.client.post(f"/v1/decisions/{decision_id}:explain", json={})
        ExplainedDecision.model_validate(answer.json())
        for offer in answer.json()["offers"]:
            bars = offer["waterfall"]
            assert bars[0]["start"] == offer["base_value"]
            assert all(one["end"] == other["start"] for one, other in itertools.pairwise(bars))
            assert bars[-1]["end"] == pytest.approx(offer["raw_score"], abs=1e-9)
            seen += 1
    assert seen > 5
