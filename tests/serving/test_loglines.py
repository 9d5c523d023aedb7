"""A line of the log is one line, whoever is asked for; a user in it is digits when that is wanted."""

import ast
import io
import json
import logging
import re
from pathlib import Path

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError, LogError
from serving.errors.middleware import ProblemMiddleware
from serving.loglines import guard, one_line, path_of
from serving.logs import JsonLines
from serving.metrics import metrics, render, route_of

ROOT = Path(__file__).parents[2]
FORGED = "u1\n2026-11-22T10:00:00+0000 [ERROR] [entry_service:userops:1] forged\r\x1b[2K\u2028\x85\u202etxt"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")


@pytest.fixture
def log():
    """A logger of ours that writes as the service does, and what it wrote."""
    before, stream = logging.getLogRecordFactory(), io.StringIO()
    guard()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(message)s"))
    one = logging.getLogger("userops.test_loglines")
    one.addHandler(handler)
    one.propagate = False
    yield one, stream
    one.removeHandler(handler)
    logging.setLogRecordFactory(before)


@given(st.text())
@example(FORGED)
@settings(deadline=None)
def test_no_text_makes_another_line(text):
    assert not CONTROL.search(one_line(text))
    assert not CONTROL.search(path_of(f"/v1/users/{text}/profile"))
    one_line(text).encode()


@given(st.text(min_size=3).filter(lambda text: not re.search("[0-9a-f]", text)))
@example("u1/../profile\n")
@settings(deadline=None)
def test_hashed_no_path_holds_an_id(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USEROPS_LOG_USERS", "hashed")
        for path in ("/v1/users/{}/profile", "/v1/users/{}/tags/x", "/console/users/{}", "/nowhere/{}"):
            assert text not in path_of(path.format(text)).replace("/profile", "").replace("/tags", "")
        assert re.fullmatch("/v1/users/[0-9a-f]{16}/profile", path_of("/v1/users/u1/profile"))
        assert path_of("/v1/users/u1/consents/sms") == path_of("/v1/users/u1/consents/wecom")


def test_a_variable_that_means_nothing_is_refused(monkeypatch):
    monkeypatch.setenv("USEROPS_LOG_USERS", "yes")
    with pytest.raises(ConfigError, match="USEROPS_LOG_USERS"):
        guard()


@pytest.mark.parametrize("hashed", [False, True])
def test_neither_words_nor_errors_nor_tracebacks_forge_a_record(log, monkeypatch, hashed):
    monkeypatch.setenv("USEROPS_LOG_USERS", "hashed" if hashed else "plain")
    one, stream = log
    one.error("%s gave %d", FORGED, 3)
    one.error(FORGED)
    one.error("the log failed: %s", LogError("cannot be read", got=FORGED))
    try:
        raise KeyError(FORGED) from ValueError(FORGED)
    except KeyError:
        one.exception("%s failed", "/x")
    lines = stream.getvalue().split("\n")
    records = [line for line in lines if line and not line.startswith(" ")]
    assert len(records) == 4
    assert not any(CONTROL.search(line) for line in lines)
    assert ("forged" in "".join(line for line in lines if line.startswith(" "))) is not hashed
    assert "KeyError" in stream.getvalue()


def test_hashed_no_error_tells_what_it_was_told(log, monkeypatch):
    monkeypatch.setenv("USEROPS_LOG_USERS", "hashed")
    one, stream = log
    one.error("the decision log failed: %s", LogError("it cannot be written", got="DETAIL: Key (user_id)=(ada) exists"))
    one.error("live events wait: %s", ValueError("ada"))
    assert "ada" not in stream.getvalue()
    assert "it cannot be written" in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_as_json_it_is_one_object(log, monkeypatch):
    monkeypatch.setenv("USEROPS_LOG_USERS", "hashed")
    one, stream = log
    one.handlers[0].setFormatter(JsonLines())
    try:
        raise ValueError(FORGED)
    except ValueError:
        one.exception("%s failed", path_of(f"/v1/users/{FORGED}/profile"))
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert "forged" not in line
    assert "ValueError" in told["error"]


def test_a_failing_answer_is_logged_under_one_line_and_counted_under_its_route(log, monkeypatch):
    one, stream = log
    monkeypatch.setattr("serving.errors.middleware._log", one)

    async def fail(scope, receive, send):
        raise RuntimeError(f"no {scope['path']}")

    path = f"/v1/users/{FORGED}/profile"
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}

    async def ask():
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        await ProblemMiddleware(fail, 10_000)(scope, receive, send)
        metrics().answered(route_of(path), 500, 0.1)
        return sent

    sent = anyio.run(ask)
    assert sent[0]["status"] == 500
    assert "forged" not in str(sent)
    records = [line for line in stream.getvalue().split("\n") if line and not line.startswith(" ")]
    assert len(records) == 1
    assert route_of(path) == "/v1/users/{id}/profile"
    assert b"forged" not in render()


def test_uvicorn_has_nobody_to_tell_a_path_to():
    assert not logging.getLogger("uvicorn.access").propagate  # and it has no handler of its own


def test_every_logged_value_was_looked_at():
    """No line is made of what a request says but through `path_of`: no user id, body, vector or history."""
    known = {
        *("wait", "error", "pause", "problem.status", "target", "status", "level", "route"),
        *("error.reason", "refused.reason", "ended", "asked.address", "address", "named or 'unknown'"),
        *("self.answer_timeout_s", "loaded", "'old one kept' if self.live else 'none'", "scope['method']"),
        *("key.name", "key.id", "who_may_ask(CONFIG)"),
        *("len(broken)", "len(rows)", "unreadable", "len(told)", "broken"),
    }
    loose = []
    for path in sorted((ROOT / "serving").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr not in ("debug", "info", "warning", "error", "exception", "critical", "log"):
                continue
            if ast.unparse(node.func.value) not in ("_log", "logging.getLogger('bentoml.userops')"):
                continue
            values = [ast.unparse(one) for one in node.args if not isinstance(one, ast.Constant)]
            loose += [
                f"{path.name}:{node.lineno} {one}"
                for one in values
                if one not in known and not one.startswith("path_of(")
            ]
    assert loose == []
