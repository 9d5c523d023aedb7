"""The real service over a Redis and a PostgreSQL that is killed under load: nothing answered is lost or doubled."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime

import httpx
import psutil
import psycopg
import pytest

from features import online
from features.redis_server import redis_server
from serving.benchmark_stores import copied
from serving.log import DecisionLog
from serving.log.postgres_server import postgres_server

AT = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
SECRET = "s3cret-of-tests"
LONG = 30.0  # no answer takes that long, whatever the machine does


@pytest.fixture(scope="module")
def postgres(postgres_program):
    with postgres_server(password=SECRET) as server:
        yield server


@pytest.fixture(scope="module")
def uri(postgres):
    address = postgres.create("log")
    DecisionLog.open(address).close()
    return address


@pytest.fixture(scope="module")
def server(start_server, nbo_home, redis_program, uri):
    home = nbo_home()
    with redis_server(SECRET) as redis:
        assert copied(online.SqliteStore(online.path_of(home)), online.open_store(redis.uri())) > 0
        online.path_of(home).unlink()  # nobody reads it instead
        server = start_server(home, USEROPS_DECISIONS=uri, USEROPS_ONLINE=redis.uri())
        server.wait_ready()
        yield server
        server.stop()


class Caller(threading.Thread):
    """Asks for decisions and tells what came of them, each again with its own ids until it is taken."""

    def __init__(self, number: int, url: str, stop: threading.Event) -> None:
        super().__init__()
        self.number, self.stop, self.client = number, stop, httpx.Client(base_url=url, timeout=LONG)
        self.decisions: dict[str, bytes] = {}
        self.events: list[str] = []
        self.refused: list[httpx.Response] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with self.client:
                while not self.stop.is_set():
                    self.step(len(self.decisions))
        except BaseException as error:
            self.error = error

    def step(self, n: int) -> None:
        asked = {"user_id": f"u{7 * self.number + n % 40}", "request_id": f"r-{self.number}-{n}"}
        answer = self.taken("/v1/next-best-offer", {**asked, "context": {"channel": "app"}, "limit": 2})
        self.decisions[asked["request_id"]] = answer.content
        offers = answer.json()["offers"]
        if offers:
            event = {"event_id": f"e-{self.number}-{n}", "decision_id": answer.json()["decision_id"]}
            event |= {"offer_id": offers[0]["offer_id"], "type": "impression", "ts": AT.isoformat()}
            told = self.taken("/v1/feedback", {"events": [event]}).json()
            assert (told["accepted"] + told["duplicates"], told["rejected"]) == (1, []), told
            self.events.append(event["event_id"])

    def taken(self, path: str, body: dict[str, object]) -> httpx.Response:
        while True:
            answer = self.client.post(path, json=body)
            if answer.status_code == 200:
                return answer
            self.refused.append(answer)
            time.sleep(0.05)


def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.02)


def workers(server):
    return {one.pid for one in psutil.Process(server.process.pid).children(recursive=True)}


def test_a_killed_postgres_costs_nothing_that_was_answered(server, postgres, uri):
    stop, before = threading.Event(), workers(server)
    callers = [Caller(number, server.url, stop) for number in range(4)]
    for caller in callers:
        caller.start()
    try:
        until(lambda: all(len(caller.events) > 4 for caller in callers))
        postgres.kill()
        until(lambda: all(len(caller.refused) > 2 for caller in callers))
        assert httpx.get(f"{server.url}/livez", timeout=LONG).status_code == 200
        ready = httpx.get(f"{server.url}/readyz", timeout=LONG)
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "5")
        postgres.start()
        went = [len(caller.decisions) for caller in callers]
        until(lambda: all(len(caller.decisions) > n + 5 for caller, n in zip(callers, went, strict=True)))
    finally:
        stop.set()
        for caller in callers:
            caller.join(LONG)
        if postgres.process is None:
            postgres.start()
    assert [caller.error for caller in callers] == [None] * 4
    refused = [answer for caller in callers for answer in caller.refused]
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["retry-after"] for answer in refused} == {"5"}
    assert not any(SECRET in answer.text or str(postgres.port) in answer.text for answer in refused)
    assert workers(server) == before, "nothing was started anew"
    counted(uri, callers)
    assert SECRET not in server.log.read_text()


def counted(uri, callers):
    """What was answered is in the log, once, byte for byte, and the counters agree with it."""
    log = DecisionLog.open(uri)
    answered = {key: content for caller in callers for key, content in caller.decisions.items()}
    rows = list(log.decisions(0, 2**62))
    log.close()
    assert {row.request_id: row.response for row in rows} == answered
    assert len(rows) == len(answered)
    with psycopg.connect(uri) as connection:

        def ask(sql):
            return connection.execute(sql).fetchall()

        assert Counter(row[0] for row in ask("SELECT event_id FROM feedback")) == Counter(
            event for caller in callers for event in caller.events
        )
        shown = sum(len(row.offers) for row in rows)
        taken = sum(len(caller.events) for caller in callers)
        assert dict(ask("SELECT event, sum(n) FROM offer_counts GROUP BY event")) == {
            "decision": shown,
            "impression": taken,
        }
        assert ask("SELECT sum(shown) FROM channel_counts") == [(shown,)]
        assert dict(ask("SELECT left(source, 1), count(*) FROM actions GROUP BY 1")) == {"d": shown, "e": taken}


def test_a_postgres_that_hangs_is_given_up_and_found_again(server, postgres):
    body = {"user_id": "u1", "context": {"channel": "app"}}
    with httpx.Client(base_url=server.url, timeout=LONG) as client:
        assert client.post("/v1/next-best-offer", json=body).status_code == 200
        stopped = [postgres.process.pid, *(one.pid for one in psutil.Process(postgres.process.pid).children())]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(6):
                answer = client.post("/v1/next-best-offer", json=body)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert client.get("/livez").status_code == 200
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        until(lambda: client.post("/v1/next-best-offer", json=body).status_code == 200)
    assert "no answer within" in server.log.read_text()
    assert SECRET not in server.log.read_text()
