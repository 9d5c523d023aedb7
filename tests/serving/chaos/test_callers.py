"""Callers count every answer, and none where none came; what is counted against the log is what was acknowledged."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving.chaos.acknowledged import check_decisions, check_told
from serving.chaos.asking import check_refusal, fell_back
from serving.chaos.callers import Asked, Callers, Question
from serving.chaos.fault import NotHeld, until
from serving.chaos.service import Reply
from serving.chaos.soak import slope_of


class Handler(BaseHTTPRequestHandler):
    """Says 200, 503 and nothing at all in turn."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        number = int(self.rfile.read(int(self.headers["content-length"])))
        if number % 3 == 2:
            self.close_connection = True
            return
        content = b'{"detail": "full"}'
        self.send_response(503 if number % 3 else 200)
        self.send_header("content-length", str(len(content)))
        self.send_header("retry-after", "5")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_every_answer_is_kept_and_what_got_none_is_known(port):
    with Callers(port, lambda n: Question(f"q{n}", "/", str(n).encode()), connections=2) as callers:
        until(lambda: len(callers.asked) >= 30, 30, "no answers")
    statuses = callers.statuses()
    assert set(statuses) == {0, 200, 503}
    assert statuses[200] == len(callers.acknowledged()) > 9
    assert {int(one.name[1:]) % 3 for one in callers.unanswered()} == {2}
    assert all(one.reply.retry_after == "5" for one in callers.asked if one.reply.status == 503)
    assert max(Counter(one.question.name for one in callers.asked).values()) == 1


class Row:
    def __init__(self, request_id, response):
        self.request_id, self.response = request_id, response


class Log:
    def __init__(self, *rows):
        self.rows = rows

    def decisions(self, since_us, until_us):
        return iter(self.rows)


class Heard:
    """Callers whose questions were all answered."""

    def __init__(self, *names, path="/", status=200):
        self.asked = [
            Asked(
                Question(name, path, json.dumps({"events": [{"event_id": name}]}).encode()),
                Reply(status, 0.0, b"{}"),
            )
            for name in names
        ]

    def acknowledged(self):
        return {one.question.name: one.reply.content for one in self.asked}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([Row("a", b"{}")], "1 acknowledged decisions are lost"),
        ([Row("a", b"{}"), Row("b", b"{}"), Row("b", b"{}")], "decided twice"),
        ([Row("a", b"{}"), Row("b", b"{1}")], "logged otherwise than answered"),
    ],
)
def test_a_lost_doubled_or_other_decision_is_found(rows, said):
    with pytest.raises(NotHeld, match=said):
        check_decisions(Log(*rows), Heard("a", "b"))
    assert check_decisions(Log(Row("a", b"{}"), Row("b", b"{}"), Row("other", b"")), Heard("a", "b")).startswith("2 ")


class Service:
    """Answers every batch as told."""

    def __init__(self, accepted, duplicates):
        self.content = json.dumps({"accepted": accepted, "duplicates": duplicates}).encode()

    def post(self, path, body):
        return Reply(200, 0.0, self.content)


def test_lost_or_doubled_feedback_is_found():
    with pytest.raises(NotHeld, match="entries are lost"):
        check_told(Service(1, 0), Heard("a"), [])
    with pytest.raises(NotHeld, match="kept twice"):
        check_told(Service(0, 1), Heard("a"), ["a", "a"])
    with pytest.raises(NotHeld, match="1 accepted and 0 duplicates, 1 were known"):
        check_told(Service(1, 0), Heard("a"), ["a"])
    assert check_told(Service(0, 1), Heard("a"), ["a"]).startswith("1 ")


def test_a_refusal_says_why_and_when_and_a_fallback_holds_no_score():
    good = Reply(503, 0.0, b'{"detail": "no room"}', "5")
    check_refusal("offers", good)
    for wrong in (Reply(500, 0.0, good.content, "5"), Reply(503, 0.0, good.content), Reply(503, 0.0, b"{}", "5")):
        with pytest.raises(NotHeld):
            check_refusal("offers", wrong)
    told = {"status": "fallback", "status_reason": "TIMEOUT", "offers": []}
    assert fell_back("offers", Reply(200, 0.0, json.dumps(told).encode()), "TIMEOUT")
    for change in ({"status": "decided"}, {"status_reason": "LOW_EV"}, {"offers": [{"offer_id": "o"}]}):
        with pytest.raises(NotHeld):
            fell_back("offers", Reply(200, 0.0, json.dumps(told | change).encode()), "TIMEOUT")


def test_a_slope_is_found_and_noise_is_none():
    growing = slope_of("w", [(2.0 * n, 200.0 + 2.0 * n * 50 / 3600 + (n % 3) * 0.1) for n in range(200)])
    assert growing.low <= 50 <= growing.high
    assert growing.low > 40
    still = slope_of("w", [(2.0 * n, 200.0 + (n % 7) * 0.2) for n in range(200)])
    assert still.low <= 0 <= still.high
