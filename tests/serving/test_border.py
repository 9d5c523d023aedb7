"""Whatever is sent, the answer is an answer or a problem document: never a 500, never a stack trace."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
import string
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import State

from configs.errors import FeatureError
from serving import service
from serving.errors.middleware import ProblemMiddleware
from serving.schemas import ProblemBody

JSON = {"content-type": "application/json"}
URL = "/v1/score/churn"


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    ProblemBody.model_validate(body)
    assert set(body) <= {"type", "title", "status", "detail", "field", "expected", "got", "request_id"}
    assert body["status"] == answer.status_code
    assert "Traceback" not in answer.text
    assert '.py"' not in answer.text
    assert len(answer.text) < 2000
    return body


BODIES = {
    "empty": b"",
    "not JSON": b"{",
    "text": b"hello",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "no users": b"{}",
    "null users": b'{"user_ids": null}',
    "empty list": b'{"user_ids": []}',
    "number": b'{"user_ids": [7]}',
    "null id": b'{"user_ids": [null]}',
    "empty id": b'{"user_ids": [""]}',
    "NUL": b'{"user_ids": ["a\\u0000"]}',
    "newline": b'{"user_ids": ["a\\n"]}',
    "lone surrogate": b'{"user_ids": ["\\ud800"]}',
    "not UTF-8": b'{"user_ids": ["\xff"]}',
    "UTF-16": '{"user_ids": ["a"]}'.encode("utf-16"),
    "enormous id": b'{"user_ids": ["' + b"a" * 900_000 + b'"]}',
    "string for a list": b'{"user_ids": "u1"}',
    "unknown field": b'{"user_ids": ["u1"], "limit": 3}',
    "unknown nested field": b'{"user_ids": ["u1"], "explain": {"levle": "full"}}',
    "unknown level": b'{"user_ids": ["u1"], "explain": {"level": "all"}}',
    "unknown language": b'{"user_ids": ["u1"], "explain": {"lang": "fr"}}',
    "NaN": b'{"user_ids": ["u1"], "explain": {"top_n": NaN}}',
    "Infinity": b'{"user_ids": ["u1"], "explain": {"top_n": -Infinity}}',
    "NaN user": b'{"user_ids": [NaN]}',
    "huge number": b'{"user_ids": ["u1"], "explain": {"top_n": 1e999}}',
    "long integer": b'{"user_ids": ["u1"], "explain": {"top_n": ' + b"9" * 5000 + b"}}",
    "fraction": b'{"user_ids": ["u1"], "explain": {"top_n": 2.5}}',
    "too few reasons": b'{"user_ids": ["u1"], "explain": {"top_n": 0}}',
    "too many reasons": b'{"user_ids": ["u1"], "explain": {"top_n": 21}}',
    "string for a bool": b'{"user_ids": ["u1"], "strict": "true"}',
    "number for a bool": b'{"user_ids": ["u1"], "strict": 1}',
    "no instant": b'{"user_ids": ["u1"], "as_of": "yesterday"}',
    "number for an instant": b'{"user_ids": ["u1"], "as_of": 1700000000}',
    "NaN for an instant": b'{"user_ids": ["u1"], "as_of": NaN}',
    "no such day": b'{"user_ids": ["u1"], "as_of": "2026-02-30T00:00:00Z"}',
    "instant before all": b'{"user_ids": ["u1"], "as_of": "0000-00-00T00:00:00Z"}',
    "object for an id": b'{"user_ids": ["u1"], "request_id": {}}',
    "deep list": b"[" * 200_000,
    "deep object": b'{"user_ids":' * 50_000,
    "deep value": b'{"user_ids": ["u1"], "request_id": ' + b"[" * 900 + b"]" * 900 + b"}",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_malformed_body_is_a_400(served, name):
    answer = served.client.post(URL, content=BODIES[name], headers=JSON)
    assert answer.status_code == 400, answer.text
    problem(answer)


def test_a_problem_names_the_field_what_came_and_what_was_expected(served):
    body = {"user_ids": ["u1", 7], "request_id": "r-9"}
    told = problem(served.client.post(URL, json=body))
    assert told["field"] == "user_ids[1]"
    assert told["got"] == "7"
    assert "string" in told["expected"]
    assert told["request_id"] == "r-9"
    nested = problem(served.client.post(URL, json={"user_ids": ["u1"], "explain": {"top_n": 99}}))
    assert (nested["field"], nested["got"]) == ("explain.top_n", "99")


def test_too_many_users_are_a_413(served):
    told = problem(served.client.post(URL, json={"user_ids": ["u1"] * 501}))
    assert (told["status"], told["field"], told["got"]) == (413, "user_ids", 501)


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "x", ""])
def test_another_content_type_is_a_415(served, media_type):
    told = problem(served.client.post(URL, content=b'{"user_ids": ["u1"]}', headers={"content-type": media_type}))
    assert told["status"] == 415


def test_a_pickle_is_a_415(served):
    headers = {"content-type": "application/vnd.bentoml+pickle"}
    assert problem(served.client.post(URL, content=b"\x80\x04N.", headers=headers))["status"] == 415


def test_a_compressed_body_is_a_415(served):
    headers = {**JSON, "content-encoding": "gzip"}
    assert problem(served.client.post(URL, content=b"\x1f\x8b", headers=headers))["status"] == 415


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_by_any_spelling_is_read(served, media_type):
    answer = served.client.post(URL, content=b'{"user_ids": ["u1"]}', headers={"content-type": media_type})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "url"),
    [("GET", URL), ("PUT", URL), ("DELETE", "/v1/models"), ("POST", "/v1/users/u1/profile"), ("POST", "/livez")],
)
def test_a_wrong_method_is_a_405_and_says_which_is_right(served, method, url):
    answer = served.client.request(method, url)
    assert problem(answer)["status"] == 405
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    "url",
    [
        "/",
        "/nowhere",
        "/v1",
        "/v1/score/nothing",
        "/v1/models/nothing/card",
        "/v1/models//card",
        "/static_content/nothing.js",
    ],
)
def test_an_unknown_address_is_a_404(served, url):
    method = "POST" if "score" in url else "GET"
    assert problem(served.client.request(method, url, headers=JSON))["status"] == 404


@pytest.mark.parametrize(
    "query", ["lang=fr", "top_n=x", "top_n=0", "strict=perhaps", "unknown=1", "lang=zh&lang=en", "user_id=u2"]
)
def test_a_malformed_query_is_a_400(served, query):
    assert problem(served.client.get(f"/v1/users/u1/profile?{query}"))["status"] == 400


@pytest.mark.parametrize("user_id", ["%00", "a%0Ab", "a" * 129, "%FF%FE", ".."])
def test_a_strange_user_id_is_no_error_of_ours(served, user_id):
    answer = served.client.get(f"/v1/users/{user_id}/profile")
    assert answer.status_code in (200, 400, 404)
    if answer.status_code != 200:
        problem(answer)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(string.ascii_letters, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "user_ids": st.lists(st.text(max_size=200) | st.sampled_from(["u1", "u45"]), max_size=6) | ANY_JSON,
        "explain": st.fixed_dictionaries(
            {},
            optional={
                "level": st.sampled_from(["none", "reason_codes", "full"]) | ANY_JSON,
                "top_n": st.integers(-2, 25) | ANY_JSON,
                "lang": st.sampled_from(["zh", "en"]) | ANY_JSON,
            },
        )
        | ANY_JSON,
        "strict": st.booleans() | ANY_JSON,
        "as_of": st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat()) | ANY_JSON,
        "request_id": st.text(max_size=130) | ANY_JSON,
        "other": ANY_JSON,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=FIELDS.map(lambda fields: json.dumps(fields).encode()) | st.binary(max_size=300))
def test_any_body_is_answered_or_refused(served, body):
    for name in ("churn", "repurchase", "value"):
        answer = served.client.post(f"/v1/score/{name}", content=body, headers=JSON)
        if answer.status_code == 200:
            asked = json.loads(body)["user_ids"]
            assert [user["user_id"] for user in answer.json()["users"]] == asked
        else:
            assert answer.status_code in (400, 404, 413, 422), answer.text
            problem(answer)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.text(st.characters(codec="utf-8", exclude_characters="?#"), max_size=40),
    query=st.text(
        st.characters(codec="ascii", min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=30
    ),
)
def test_any_user_and_query_is_answered_or_refused(served, path, query):
    answer = served.client.get(f"/v1/users/{quote(path, safe='')}/profile?{query}")
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code != 200:
        problem(answer)


def test_an_error_of_ours_is_a_500_that_tells_nothing(served, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret /etc/passwd")

    monkeypatch.setattr(type(served.published), "online", broken)
    for answer in (
        served.client.post(URL, json={"user_ids": ["u1"]}),
        served.client.get("/v1/users/u1/profile"),
        served.client.get("/readyz"),
    ):
        told = problem(answer)
        assert told["status"] == 500
        assert "secret" not in answer.text


def test_an_unreadable_store_is_a_503_with_its_reason(served, monkeypatch):
    def unreadable(*_):
        raise FeatureError("nothing is published", got="/home/somebody", run="userops features publish")

    monkeypatch.setattr(type(served.published), "online", unreadable)
    for answer in (
        served.client.post(URL, json={"user_ids": ["u1"]}),
        served.client.get("/v1/users/u1/profile"),
        served.client.get("/readyz"),
    ):
        told = problem(answer)
        assert told["status"] == 503
        assert "nothing is published" in told["detail"]
        assert "somebody" not in answer.text
        assert answer.headers["retry-after"] == "5"
    assert served.client.get("/livez").status_code == 200


def test_a_locked_database_is_a_503(served, monkeypatch):
    def locked(*_):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(type(served.published), "online", locked)
    assert problem(served.client.post(URL, json={"user_ids": ["u1"]}))["status"] == 503


def test_without_a_release_the_service_lives_and_says_what_it_waits_for(tmp_path, monkeypatch, in_process, published):
    monkeypatch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=tmp_path))
    monkeypatch.setattr(service, "open_reader", lambda config: published)
    monkeypatch.setattr(service._rest, "state", State())
    with in_process(service.UserOps.to_asgi()) as client:
        assert client.get("/livez").status_code == 200
        for answer in (client.get("/readyz"), client.get("/v1/models"), client.post(URL, json={"user_ids": ["u1"]})):
            told = problem(answer)
            assert told["status"] == 503
            assert "no release" in told["detail"]


class Border:
    """The middleware alone, before an app that reads all and answers 200."""

    def __init__(self, **how):
        self.sent = []

        async def app(scope, receive, send):
            message = await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": message["body"]})

        self.middleware = ProblemMiddleware(app, max_body_bytes=10, **how)

    def __call__(self, messages, headers=()):
        waiting = iter(messages)

        async def receive():
            message = next(waiting)
            if message == "silence":
                await asyncio.sleep(60)
            return message

        async def send(message):
            self.sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1", "headers": list(headers)}
        asyncio.run(self.middleware(scope, receive, send))
        return self.sent[0]["status"] if self.sent else None


def part(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_chunks_is_put_together():
    border = Border()
    assert border([part(b"12345"), part(b"67890", more=False)]) == 200
    assert border.sent[1]["body"] == b"1234567890"


def test_a_long_body_is_refused_as_soon_as_it_is_too_long():
    border = Border()
    assert border([part(b"12345"), part(b"678901"), AssertionError]) == 413
    assert (b"connection", b"close") in border.sent[0]["headers"]


def test_a_body_that_is_announced_too_long_is_not_read():
    assert Border()([], headers=[(b"content-length", b"11")]) == 413
    assert Border()([part(b"12345", more=False)], headers=[(b"content-length", b"-1")]) == 200


def test_a_body_that_does_not_arrive_is_a_408():
    assert Border(body_timeout_s=0.01)([part(b"1"), "silence"]) == 408


def test_an_answer_that_does_not_come_is_a_504():
    async def forever(scope, receive, send):
        await asyncio.sleep(60)

    border = Border(answer_timeout_s=0.01)
    border.middleware.app = forever
    assert border([part(b"1", more=False)]) == 504


def test_nobody_answers_a_client_who_left():
    assert Border()([part(b"1"), {"type": "http.disconnect"}]) is None


def test_the_documented_limit_is_the_one_in_force(served):
    assert served.client.post(URL, content=b" " * (service.CONFIG.serving.max_body_bytes + 1)).status_code == 413
    document = served.client.get("/docs.json").json()
    users = document["components"]["schemas"]["ScoreRequest"]["properties"]["user_ids"]
    assert users["maxItems"] == service.CONFIG.serving.max_users
    assert np.isfinite(users["maxItems"])
