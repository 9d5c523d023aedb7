"""Whatever is asked of the next best offer, the answer is an answer or a problem that names the field."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import online, vectors
from features.catalog import NAMES
from serving.log import DecisionLog
from serving.schemas import ProblemBody, ScoreResponse
from serving.schemas_decision import AudienceResponse
from serving.schemas_interest import InterestResponse
from serving.schemas_nbo import NextBestOfferResponse
from serving.schemas_value import ValueResponse

JSON = {"content-type": "application/json"}
URL = "/v1/next-best-offer"

LEVER = "candidates[0].levers.x"
FIELDS = {
    "no user": ({}, 400, "user_id"),
    "two users": ({"user_id": "u1", "identity": {"namespace": "a", "id": "b"}}, 400, "user_id"),
    "half an identity": ({"identity": {"namespace": "a"}}, 400, "identity.id"),
    "number for a user": ({"user_id": 7}, 400, "user_id"),
    "limit 0": ({"user_id": "u1", "limit": 0}, 400, "limit"),
    "limit 51": ({"user_id": "u1", "limit": 51}, 400, "limit"),
    "limit true": ({"user_id": "u1", "limit": True}, 400, "limit"),
    "no candidates": ({"user_id": "u1", "candidates": []}, 400, "candidates"),
    "too many candidates": ({"user_id": "u1", "candidates": [{"offer_id": "o"}] * 501}, 413, "candidates"),
    "candidate without id": ({"user_id": "u1", "candidates": [{"value": 1.0}]}, 400, "candidates[0].offer_id"),
    "negative value": ({"user_id": "u1", "candidates": [{"offer_id": "a", "value": -1.0}]}, 400, "candidates[0].value"),
    "negative cost": ({"user_id": "u1", "candidates": [{"offer_id": "a", "cost": -0.1}]}, 400, "candidates[0].cost"),
    "text for a lever": ({"user_id": "u1", "candidates": [{"offer_id": "a", "levers": {"x": "y"}}]}, 400, LEVER),
    "unknown objective": ({"user_id": "u1", "objective": "profit"}, 400, "objective"),
    "epsilon 2": ({"user_id": "u1", "policy": {"exploration": {"epsilon": 2.0}}}, 400, "policy.exploration.epsilon"),
    "unknown mode": ({"user_id": "u1", "policy": {"exploration": {"mode": "ucb"}}}, 400, "policy.exploration.mode"),
    "unknown field": ({"user_id": "u1", "budget": 1}, 400, "budget"),
    "nested attribute": ({"user_id": "u1", "context": {"attributes": {"a": {"b": 1}}}}, 400, "context.attributes.a"),
    "long attribute": ({"user_id": "u1", "context": {"attributes": {"a": "x" * 300}}}, 400, "context.attributes.a"),
    "control character": ({"user_id": "u1", "context": {"channel": "a\u0000"}}, 400, "context.channel"),
    "timeout 0": ({"user_id": "u1", "timeout_ms": 0}, 400, "timeout_ms"),
    "personalization maybe": ({"user_id": "u1", "personalization": "maybe"}, 400, "personalization"),
    "naive instant": ({"user_id": "u1", "as_of": "2026-11-21T10:00:00"}, 400, "as_of"),
    "unknown language": ({"user_id": "u1", "explain": {"lang": "fr"}}, 400, "explain.lang"),
}  # fmt: skip


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    ProblemBody.model_validate(body)
    assert "Traceback" not in answer.text
    return body


@pytest.mark.parametrize("name", FIELDS)
def test_a_mistake_is_named(decider, name):
    body, status, field = FIELDS[name]
    answer = decider.client.post(URL, json=body)
    told = problem(answer)
    assert answer.status_code == status
    assert field is None or told["field"] == field
    assert told["expected"]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def some(**fields):
    """An object with some of its fields, each right or anything."""
    return st.fixed_dictionaries({}, optional={name: value | ANY for name, value in fields.items()})


NAME = st.sampled_from(
    ["u1", "tea_1", "o_tea_1", "c_soap", "popular", "app", "sms", "s1", "", "\u0000", "é" * 130, "x"]
)
NUMBER = st.floats(0, 100) | st.floats() | st.integers(-3, 10**20)
VALUES = st.dictionaries(NAME | st.text(max_size=5), ANY, max_size=3)
CANDIDATE = st.fixed_dictionaries(
    {"offer_id": NAME}, optional={"value": NUMBER, "cost": NUMBER, "levers": VALUES, "attributes": VALUES}
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.sampled_from(["u1", "u2", "nobody"]) | NAME | ANY,
        "identity": some(namespace=NAME, id=NAME) | st.none(),
        "request_id": st.text(max_size=8) | ANY,
        "as_of": st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat()) | st.none(),
        "context": some(channel=NAME, placement=NAME, scenario=NAME, store_id=NAME, attributes=VALUES),
        "candidates": st.lists(CANDIDATE | ANY, max_size=4) | st.none(),
        "candidate_source": some(collection=NAME, max=st.integers(0, 600)),
        "limit": st.integers(-1, 60),
        "objective": st.sampled_from(["expected_value", "uplift_value", "conversion", "sell_through"]) | ANY,
        "policy": some(
            exploration=some(
                mode=st.sampled_from(["epsilon", "softmax"]),
                epsilon=NUMBER,
                temperature=NUMBER,
                top_k=st.integers(-1, 10),
                floor=NUMBER,
            ),
            respect_caps=st.booleans(),
            allow_duplicates=st.booleans(),
            paused_channels=st.lists(NAME, max_size=3),
        ),
        "personalization": st.sampled_from(["on", "off"]) | ANY,
        "explain": some(level=st.sampled_from(["none", "full"]), top_n=st.integers(0, 21), lang=st.just("en")),
        "timeout_ms": st.integers(-1, 100),
        "strict": st.booleans(),
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=BODY.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=200))
def test_any_question_is_answered_or_refused(decider, body):
    answer = decider.client.post(URL, content=body, headers=JSON)
    if answer.status_code == 200:
        told = NextBestOfferResponse.model_validate(answer.json())
        assert bool(told.offers) + (told.fallback is not None) + (told.status in ("suppressed", "holdout")) >= 1
        assert not (told.offers and told.fallback)
    else:
        assert answer.status_code in (400, 404, 409, 413, 422), answer.text
        told = problem(answer)
        assert told.get("expected") is not None


ENTRY = some(
    event_id=st.text(max_size=5),
    decision_id=NAME,
    user_id=NAME,
    offer_id=NAME,
    type=st.sampled_from(["click", "order", "view", "purchase"]),
    ts=st.just("2026-11-21T10:11:12Z"),
    value=NUMBER,
    rank=st.integers(-1, 3),
    item_id=NAME,
    attributes=VALUES,
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(entries=st.lists(ENTRY | ANY, min_size=1, max_size=4), kind=st.sampled_from(["feedback", "events"]))
def test_any_batch_is_taken_apart_or_refused(decider, entries, kind):
    answer = decider.client.post(f"/v1/{kind}", content=json.dumps({"events": entries}).encode(), headers=JSON)
    if answer.status_code == 200:
        told = answer.json()
        assert told["accepted"] + told["duplicates"] + len(told["rejected"]) == len(entries)
        for one in told["rejected"]:
            assert one["error"]
            assert one["detail"]
    else:
        assert answer.status_code == 400
        assert problem(answer)["field"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=some(
        user_ids=st.lists(NAME, max_size=4),
        categories=st.integers(-1, 5),
        items=st.integers(-1, 5),
        store_id=NAME,
        explain=some(level=st.just("none")),
        strict=st.booleans(),
        goal=st.sampled_from(["interest", "churn"]),
        category=NAME,
        offer=NAME,
        top_k=st.integers(-1, 3),
        threshold=NUMBER,
        release=NAME,
    ),
    url=st.sampled_from(["score/interest", "audiences:build", "decisions/d_1:replay", "decisions/d_1:explain"]),
)
def test_any_other_question_is_answered_or_refused(decider, body, url):
    answer = decider.client.post(f"/v1/{url}", content=json.dumps(body).encode(), headers=JSON)
    assert answer.status_code in (200, 400, 404, 413, 422), answer.text
    if answer.status_code != 200:
        problem(answer)


def test_an_id_that_no_database_can_hold_is_of_no_decision(decider, monkeypatch):
    monkeypatch.setattr(DecisionLog, "decision", lambda *_: 1 / 0)  # what PostgreSQL makes of it is no answer of ours
    for path in ("/v1/decisions/d_%00", "/v1/decisions/%00:replay", "/v1/decisions/%00:explain"):
        answer = decider.client.request("POST" if ":" in path else "GET", path, headers=JSON)
        assert (answer.status_code, problem(answer)["field"]) == (404, "decision_id"), answer.text


# Somebody whose published features nobody can read.

WIDTH = 8 * len(NAMES)
DAMAGE = {
    "cut off": lambda value: value[: len(value) // 2],
    "infinite": lambda value: value[:-8] + struct.pack("<d", float("-inf")),
    "of another catalogue": lambda value: value[: -WIDTH - 8] + struct.pack("<d", 1.5) + value[-WIDTH:],
}


@contextmanager
def damaged(home, users, damage: Callable[[bytes], bytes], cell=online.VECTOR) -> Iterator[None]:
    """The vectors of some users as no publication writes them, until the end of the block."""
    table = f'"{online.PROJECT}_{cell.view}"'
    with closing(sqlite3.connect(online.path_of(home), timeout=30)) as connection:
        keys = vectors.entity_keys(users)
        was = [
            connection.execute(f"SELECT value FROM {table} WHERE entity_key = ?", (key,)).fetchone()[0] for key in keys
        ]
        write = f"UPDATE {table} SET value = ? WHERE entity_key = ?"
        with connection:
            connection.executemany(write, [(damage(one), key) for one, key in zip(was, keys, strict=True)])
        try:
            yield
        finally:
            with connection:
                connection.executemany(write, list(zip(was, keys, strict=True)))


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("model", "schema"),
    [("churn", ScoreResponse), ("repurchase", ScoreResponse), ("value", ValueResponse), ("interest", InterestResponse)],
)
def test_who_cannot_be_read_is_told_and_the_others_are_as_ever(decider, model, schema, damage):
    def ask(*users, **more):
        return decider.client.post(f"/v1/score/{model}", json={"user_ids": users, **more})

    users = ["u5", "u6", "nobody", "u7", "u6"]
    before = ask(*users).json()["users"]
    with damaged(decider.home, ["u6"], DAMAGE[damage]):
        answer = ask(*users)
        assert answer.status_code == 200, answer.text
        schema.model_validate(answer.json())
        after = answer.json()["users"]
        assert [after[place] for place in (0, 2, 3)] == [before[place] for place in (0, 2, 3)]
        for place in (1, 4):
            told = after[place]
            assert (told["user_id"], told["known"], told["as_of"]) == ("u6", False, None)
            assert told["status_reason"] == "FEATURES_UNAVAILABLE"
            for score in told.get("scores", {}).values():
                assert (score["status_reason"], score["reason_codes"]) == ("FEATURES_UNAVAILABLE", [])
                assert {score.get("p"), score.get("expected"), score["percentile"]} == {None}, "a number was made up"
            assert not any(told.get(name) for name in ("categories", "items", "tags", "expected_next_order_at"))
        # With nobody else there is nothing to answer, and strict refuses to leave anybody out.
        for refused in (ask("u6"), ask("u6", "u6"), ask("u5", "u6", strict=True)):
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
    assert ask(*users).json()["users"] == before


def test_an_audience_goes_without_whom_nobody_can_read(decider):
    def build(**asked):
        answer = decider.client.post("/v1/audiences:build", json={"top_k": 500, **asked})
        assert answer.status_code == 200, answer.text
        AudienceResponse.model_validate(answer.json())
        return answer.json()

    for asked in ({"goal": "churn"}, {"category": "tea"}):
        before = build(**asked)
        lost = before["rows"][3]["user_id"]
        with damaged(decider.home, [lost], DAMAGE["cut off"]):
            after = build(**asked)
        assert (before["users_unreadable"], after["users_unreadable"]) == (0, 1)
        assert [row["user_id"] for row in after["rows"]] == [
            row["user_id"] for row in before["rows"] if row["user_id"] != lost
        ]


@pytest.mark.parametrize("doubles", [[1.0] * 7, [float("nan")] * 6, [float("inf")] * 12])
def test_a_history_that_is_none_is_told_as_an_unreadable_vector_is(decider, doubles):
    broken = vectors.pack_list(struct.pack(f"<{len(doubles)}d", *doubles))
    with damaged(decider.home, ["u6"], lambda value: broken, online.HISTORY):
        answer = decider.client.post("/v1/score/interest", json={"user_ids": ["u5", "u6"]})
        assert [user["status_reason"] for user in answer.json()["users"]] == [None, "FEATURES_UNAVAILABLE"]
        offer = decider.ask("u6")
        assert (offer["status"], offer["status_reason"], offer["offers"]) == ("fallback", "FEATURES_UNAVAILABLE", [])
        audience = decider.client.post("/v1/audiences:build", json={"category": "tea", "top_k": 500}).json()
        assert (audience["users_unreadable"], "u6" in {row["user_id"] for row in audience["rows"]}) == (1, False)


def test_when_nobody_can_be_read_nothing_is_answered(decider, shop):
    with damaged(decider.home, list(shop.users), DAMAGE["of another catalogue"]):
        for path, asked in (
            ("/v1/score/churn", {"user_ids": ["u1", "u2"]}),
            ("/v1/audiences:build", {"goal": "churn", "top_k": 5}),
        ):
            answer = decider.client.post(path, json=asked)
            assert answer.status_code == 503, answer.text
            assert "catalogue" in problem(answer)["detail"]
