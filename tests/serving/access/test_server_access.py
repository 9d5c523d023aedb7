"""A real service with keys: they change under load, a flood passes, and at its end nobody is left without an answer."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
from datetime import UTC, datetime

import httpx
import pytest

from configs.errors import UseropsError
from configs.keys import Keys
from features.catalog import digest
from serving.benchmark_load import post
from serving.client import Client, Refused, Retries
from serving.local import post as ask_as_a_verb
from serving.schemas import ScoreRequest
from serving.scoring import write_release

CHURN = {"user_ids": ["u1"], "explain": {"level": "none"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory, catalogue_models, published, publish_to):
    home = tmp_path_factory.mktemp("home_with_keys")
    write_release(home / "releases", catalogue_models, digest(), datetime(2026, 11, 21, tzinfo=UTC))
    publish_to(home, published)
    return home


@pytest.fixture(scope="module")
def keys(home):
    return Keys(home / "keys.json")


@pytest.fixture(scope="module")
def text(keys):
    return keys.add("shop", ["score", "read"])[1]


@pytest.fixture(scope="module")
def server(start_server, home, text):
    server = start_server(home)
    server.wait_ready()
    return server


def shown(text):
    return {"authorization": f"Bearer {text}"}


def test_it_says_at_its_start_who_may_ask(server):
    assert "asked by holders of keys (1 in force)" in server.log.read_text()


def test_every_header_is_there(server, text):
    for path, key in (("/livez", None), ("/v1/models", text), ("/v1/models", None), ("/nowhere", text)):
        answer = httpx.get(server.url + path, headers=shown(key) if key else {})
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    page = httpx.get(f"{server.url}/console/models", headers=shown(text))
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_the_client_shows_its_key(server, text, monkeypatch):
    monkeypatch.delenv("USEROPS_KEY", raising=False)
    with Client(server.url) as client, pytest.raises(Refused) as told:
        client.score("churn", ScoreRequest(user_ids=["u1"]))
    assert told.value.status == 401
    with Client(server.url, key=text) as client:
        assert client.score("churn", ScoreRequest(user_ids=["u1"])).users[0].known
    monkeypatch.setenv("USEROPS_KEY", text)
    with Client(server.url) as client:
        assert client.score("churn", ScoreRequest(user_ids=["u1"])).users[0].known


def test_the_command_line_shows_its_key_and_says_what_to_run_without(server, text, monkeypatch):
    url, body = f"{server.url}/v1/score/churn", json.dumps(CHURN)
    monkeypatch.delenv("USEROPS_KEY", raising=False)
    with pytest.raises(UseropsError, match="run: export USEROPS_KEY"):
        ask_as_a_verb(url, body)
    monkeypatch.setenv("USEROPS_KEY", text)
    assert ask_as_a_verb(url, body)["users"][0]["known"]
    with pytest.raises(UseropsError, match="run: userops keys add NAME --scope decide"):
        ask_as_a_verb(f"{server.url}/v1/next-best-offer", json.dumps({"user_id": "u1"}))


def test_keys_change_under_load_and_nobody_is_refused(server, keys):
    first, old = keys.add("campaign", ["score"])
    in_hand, stop, statuses = [old], threading.Event(), []

    def ask():
        while not stop.is_set():
            mine = in_hand[-1]
            with httpx.Client(base_url=server.url, headers=shown(mine), timeout=60) as client:
                statuses.extend((mine, client.post("/v1/score/churn", json=CHURN).status_code) for _ in range(5))

    def passed(text, count):
        end = time.monotonic() + 30
        while sum(one == text for one, _ in list(statuses)) < count:
            assert time.monotonic() < end
            time.sleep(0.01)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        passed(old, 30)
        for _ in range(3):
            second, new = keys.add("campaign", ["score"])
            in_hand.append(new)
            passed(new, 45)  # by now, whoever held the old one has seen the new one
            keys.revoke(first.id)
            first, old = second, new
            passed(new, 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for _, status in statuses} == {200}
    for one in in_hand[:-1]:
        assert httpx.post(f"{server.url}/v1/score/churn", json=CHURN, headers=shown(one)).status_code == 401


async def flood(port, request, connections, each):
    """The answers to ``each`` requests on so many connections at once, as fast as they come."""

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        told = []
        try:
            for _ in range(each):
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le"))
                told.append((int(head[9:12]), head.lower(), await reader.readexactly(length)))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return told

    async with asyncio.timeout(60):
        found = await asyncio.gather(*(one() for _ in range(connections)))
    return [answer for answers in found for answer in answers]


def with_key(request, text):
    return request.replace(b"host: benchmark", b"host: benchmark\r\nauthorization: Bearer " + text.encode(), 1)


def test_a_flood_is_refused_at_once_and_recovered_from(server, text):
    port = int(server.url.rpartition(":")[2])
    answers = asyncio.run(flood(port, with_key(post("/v1/score/churn", CHURN), text), 400, 3))
    assert len(answers) == 1200
    statuses = {status for status, _, _ in answers}
    assert statuses == {200, 503}
    for status, head, body in answers:
        told = json.loads(body)
        if status == 503:
            assert b"\r\nretry-after: 1\r\n" in head
            assert told["type"] == "urn:userops:problem:overloaded"
        else:
            assert told["users"][0]["user_id"] == "u1"
    for _ in range(20):
        assert httpx.post(f"{server.url}/v1/score/churn", json=CHURN, headers=shown(text)).status_code == 200
    counted = httpx.get(f"{server.url}/metrics", headers=shown(text)).text
    shed = next(line for line in counted.splitlines() if line.startswith('userops_shed_requests_total{reason="queue"'))
    assert float(shed.split()[-1]) == sum(status == 503 for status, _, _ in answers)


def test_large_requests_wait_in_a_short_queue(server, text):
    """What takes long is refused when too much of it waits; what is short is answered all the while."""
    port = int(server.url.rpartition(":")[2])
    large = {"user_ids": [f"u{n % 50}" for n in range(500)], "explain": {"level": "full"}}
    found = []
    thread = threading.Thread(
        target=lambda: found.extend(asyncio.run(flood(port, with_key(post("/v1/score/churn", large), text), 60, 1)))
    )
    thread.start()
    patient = Client(server.url, key=text, timeout_s=60, retries=Retries(attempts=10, first_s=0.01, longest_s=0.1))
    with patient as client:
        for _ in range(10):
            assert client.score("churn", ScoreRequest(user_ids=["u1"])).users[0].known
    thread.join()
    statuses = [status for status, _, _ in found]
    assert set(statuses) == {200, 503}
    assert all(b"\r\nretry-after: " in head for status, head, _ in found if status == 503)
    assert any(b"\r\nretry-after: 2\r\n" in head for status, head, _ in found if status == 503)


def test_sigterm_answers_what_is_being_answered_and_refuses_the_rest(server, text):
    """The last test: it ends the service."""
    port = int(server.url.rpartition(":")[2])
    whole = with_key(post("/v1/score/churn", CHURN), text)
    with contextlib.ExitStack() as open_:
        begun = [open_.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(6)]
        for connection in begun:
            connection.sendall(whole[:-10])  # in flight: its body is on its way
        large = {"user_ids": [f"u{n % 50}" for n in range(500)], "explain": {"level": "full"}}
        working = [open_.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(4)]
        for connection in working:
            connection.sendall(with_key(post("/v1/score/churn", large), text))
        time.sleep(0.3)
        os.kill(server.process.pid, signal.SIGTERM)
        refused, end = False, time.monotonic() + 10
        while not refused:
            assert time.monotonic() < end, "new connections are still taken"
            assert server.process.poll() is None, "it ended before its answers were out"
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as connection:
                    connection.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
                    connection.settimeout(1)
                    refused = b" 503 " in connection.recv(100)
            except ConnectionRefusedError:
                refused = True
            except (ConnectionError, TimeoutError):
                pass
            time.sleep(0.05)
        for connection in begun:
            connection.sendall(whole[-10:])
        for connection in begun + working:
            received = b""
            while part := connection.recv(1 << 20):
                received += part
            assert received.startswith(b"HTTP/1.1 200 "), received[:300]
            assert json.loads(received.partition(b"\r\n\r\n")[2])["users"]
    assert server.process.wait(30) == 0
