"""The socket itself, by bytes: heads that are too long or never end, too many connections, too long a queue."""

import asyncio
import contextlib
import json
import resource
import select
import socket
import threading
import time

import pytest
import uvicorn

from serving.access.arriving import arriving
from serving.access.protocol import BoundedProtocol, install
from serving.errors.middleware import ProblemMiddleware
from serving.errors.problem import Problem
from serving.metrics import metrics, render

HEAD = b"GET /x HTTP/1.1\r\nhost: a\r\n"


class Small(BoundedProtocol):
    """Limits that a test reaches."""

    most_waiting = 4
    most_arriving = 3
    most_connections = 40
    most_head = 4096
    most_headers = 20
    most_url = 200
    head_seconds = 0.5


class Stage:
    """A server in a thread whose answers wait until they are let go."""

    def __init__(self):
        self.go = threading.Event()
        self.go.set()
        self.begun = 0
        border = ProblemMiddleware(self.answer, max_body_bytes=1000, body_timeout_s=0.6, admit=self.admit)
        config = uvicorn.Config(border, port=0, http=Small, lifespan="off", log_config=None)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def admit(self, scope):
        if scope["path"] == "/locked":
            raise Problem(401, "unauthorized", "no")

    async def answer(self, scope, receive, send):
        self.begun += 1
        while not self.go.is_set():
            await asyncio.sleep(0.005)
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 10)

    @property
    def port(self):
        return self.server.servers[0].sockets[0].getsockname()[1]


@pytest.fixture(scope="module")
def stage():
    stage = Stage()
    stage.thread.start()
    while not stage.server.started:
        time.sleep(0.01)
    yield stage
    stage.server.should_exit = True
    stage.thread.join(10)


def answer(connection):
    """Status, head and body of what comes; ``None`` where the connection is closed without a word."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n\r\n" not in received:
            part = connection.recv(65536)
            if not part:
                break
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        return (int(head.split(b" ")[1]), head.decode("latin-1").lower(), body) if head else None
    return None


def ask(stage, *parts):
    with stage.connect() as connection:
        for part in parts:
            connection.sendall(part)
        return answer(connection)


def closed(connection):
    with contextlib.suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


def test_a_request_is_answered_however_it_is_cut(stage):
    whole = b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
    for size in (1, 7, len(whole)):
        status, head, body = ask(stage, *(whole[at : at + size] for at in range(0, len(whole), size)))
        assert (status, body) == (200, b"hello")
        assert "x-content-type-options: nosniff" in head


def test_two_at_once_on_one_connection(stage):
    with stage.connect() as connection:
        connection.sendall((HEAD + b"\r\n") * 2)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 2:
            part = connection.recv(65536)
            assert part, received
            received += part


def test_a_head_without_an_end_is_cut_off(stage):
    with stage.connect() as connection:
        connection.sendall(HEAD + b"x: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                connection.sendall(b"a" * 1000)
        status, head, body = answer(connection)
        assert status == 431
        assert "connection: close" in head
        assert json.loads(body)["type"] == "urn:userops:problem:headers-too-large"
        assert closed(connection)


def test_a_head_that_is_too_long_or_has_too_many_lines_is_a_problem(stage):
    for lines in (b"x: " + b"a" * 4096 + b"\r\n", b"".join(b"x%d: a\r\n" % n for n in range(30))):
        status, _, body = ask(stage, HEAD + lines + b"\r\n")
        assert status == 431
        assert json.loads(body)["type"] == "urn:userops:problem:headers-too-large"


def test_an_address_that_is_too_long_is_a_problem(stage):
    for address in (b"/" + b"a" * 300, b"/a?" + b"b" * 300):
        status, head, body = ask(stage, b"GET " + address + b" HTTP/1.1\r\nhost: a\r\n\r\n")
        assert status == 414
        assert "application/problem+json" in head
        assert json.loads(body)["expected"] == "at most 200 bytes"


@pytest.mark.parametrize("begun", [b"", b"G", HEAD, HEAD + b"x: "])
def test_a_head_that_does_not_come_is_not_waited_for(stage, begun):
    with stage.connect() as connection:
        connection.sendall(begun)
        status, head, body = answer(connection)
        assert status == 408
        assert "x-content-type-options: nosniff" in head
        assert json.loads(body)["type"] == "urn:userops:problem:request-timeout"
        assert closed(connection)


def test_bytes_now_and_then_do_not_keep_a_head_open(stage):
    with stage.connect() as connection:
        connection.sendall(HEAD)
        with contextlib.suppress(ConnectionError):
            for _ in range(30):
                connection.sendall(b"x")
                time.sleep(0.05)
        assert answer(connection) is None or closed(connection)
    with stage.connect() as connection:  # the same of a second request on a connection
        connection.sendall(HEAD + b"\r\n")
        assert answer(connection)[0] == 200
        connection.sendall(b"GET /x")
        assert answer(connection)[0] == 408


def test_a_body_that_does_not_come_is_a_408(stage):
    status, _, body = ask(stage, b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe")
    assert status == 408
    assert json.loads(body)["type"] == "urn:userops:problem:request-timeout"


LOCKED = b"POST /locked HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("length", "rest"), [(6, [b"x"]), (50, [b"x"] * 30), (5, [b"hello"]), (5, [b"hello", b"\r\n"])]
)
def test_the_body_of_who_was_refused_keeps_no_connection(stage, length, rest):
    """Else whoever has no key could hold all connections there are, for nothing."""
    with stage.connect() as connection:
        connection.sendall(LOCKED % length)
        assert answer(connection)[0] == 401
        with contextlib.suppress(ConnectionError):
            for one in rest:
                connection.sendall(one)
                time.sleep(0.02)
        connection.settimeout(4)
        assert closed(connection)


def test_who_was_refused_may_end_the_body_and_ask_again(stage):
    with stage.connect() as connection:
        connection.sendall(LOCKED % 5)
        assert answer(connection)[0] == 401
        connection.sendall(b"hello" + HEAD + b"\r\n")
        assert answer(connection)[0] == 200
        connection.sendall(LOCKED % 5 + b"hello" + HEAD)
        assert answer(connection)[0] == 401
        time.sleep(0.2)
        connection.sendall(b"\r\n")
        assert answer(connection)[0] == 200


def test_what_comes_before_a_head_in_the_same_bytes_is_not_its_length(stage):
    with stage.connect() as connection:
        connection.sendall(b"POST /locked HTTP/1.1\r\nhost: a\r\ncontent-length: 6000\r\n\r\n" + b"a" * 6000 + HEAD)
        assert answer(connection)[0] == 401
        connection.sendall(b"\r\n")
        assert answer(connection)[0] == 200


def test_a_body_that_is_too_long_is_a_413(stage):
    assert ask(stage, b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n")[0] == 413
    chunk = b"1f4\r\n" + b"a" * 500 + b"\r\n"
    assert ask(stage, b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", chunk * 3)[0] == 413


@pytest.mark.parametrize(
    "nonsense", [b"\x00" * 50, b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_http_is_a_400(stage, nonsense):
    status, head, body = ask(stage, nonsense)
    assert status == 400
    assert "content-type: application/problem+json" in head
    assert json.loads(body)["type"] == "urn:userops:problem:invalid-request"


def test_a_body_that_is_no_http_is_a_400_and_what_follows_a_request_never_answers_it(stage):
    begun = b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    assert ask(stage, begun, b"zz\r\n")[0] == 400
    stage.go.clear()
    try:
        with stage.connect() as connection:
            connection.sendall(HEAD + b"\r\n")
            time.sleep(0.1)
            connection.sendall(b"\x00\x00\r\n")  # while the first is being answered
            assert answer(connection) is None
    finally:
        stage.go.set()
        while stage.server.server_state.tasks:  # else it would take a place in the queue of another test
            time.sleep(0.005)


def test_nobody_speaks_websocket(stage):
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: x\r\n\r\n"
    assert ask(stage, HEAD + upgrade)[0] != 101


def test_a_full_queue_refuses_at_once_and_takes_up_again_when_it_is_not(stage):
    stage.go.clear()
    before = stage.begun
    try:
        waiting = [stage.connect() for _ in range(20)]
        for connection in waiting:
            connection.sendall(HEAD + b"\r\n")
        told, end = [], time.monotonic() + 10
        while len(told) < 20 - Small.most_waiting:
            assert time.monotonic() < end
            told = select.select(waiting, [], [], 0.01)[0]
        time.sleep(0.1)
        told = select.select(waiting, [], [], 0)[0]
        let_in = [connection for connection in waiting if connection not in told]
        refused = [answer(connection) for connection in told]
        assert len(refused) == 20 - Small.most_waiting
        for status, head, body in refused:
            assert status == 503
            assert "retry-after: 1" in head
            assert "cache-control: no-store" in head
            assert json.loads(body)["type"] == "urn:userops:problem:overloaded"
        assert stage.begun - before == Small.most_waiting, "nothing was begun for the others"
        with stage.connect() as connection:  # whoever watches the service is still answered
            connection.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
            stage.go.set()
            assert answer(connection)[0] == 200
        assert [answer(connection)[0] for connection in let_in] == [200] * Small.most_waiting
        assert ask(stage, HEAD + b"\r\n")[0] == 200
    finally:
        stage.go.set()
        for connection in waiting:
            connection.close()


def test_bodies_on_their_way_hold_nobody_up(stage):
    begun = b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe"
    slow = [stage.connect() for _ in range(3)]
    for connection in slow:
        connection.sendall(begun)
    while arriving.count < 3:
        time.sleep(0.005)
    for _ in range(Small.most_waiting + 2):
        assert ask(stage, HEAD + b"\r\n")[0] == 200
    for connection in slow:
        connection.sendall(b"llo")
        assert answer(connection)[0] == 200
        connection.close()
    assert arriving.count == 0


def test_there_are_as_many_files_as_connections_and_more(monkeypatch):
    told = []
    monkeypatch.setattr(uvicorn.config, "HTTP_PROTOCOLS", {})
    monkeypatch.setattr(BoundedProtocol, "most_waiting", 32)
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: told.append(pair))
    for limits in ((1024, 4096), (1024, 2048), (1024, resource.RLIM_INFINITY), (65_536, 65_536)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        install(32)
    assert told == [(3000, 4096), (2048, 2048), (3000, resource.RLIM_INFINITY)]


def test_what_was_never_refused_is_counted_as_none():
    metrics()
    text = render().decode()
    for reason in ("queue", "connections", "rate", "scoring", "console"):
        assert f'userops_shed_requests_total{{reason="{reason}"}}' in text


def test_too_many_connections_are_told_so(stage):
    connections = [stage.connect() for _ in range(Small.most_connections + 5)]
    told = [answer(connection) for connection in connections[-3:]]
    assert [one[0] for one in told] == [503] * 3
    assert "retry-after: 1" in told[0][1]
    assert json.loads(told[0][2])["type"] == "urn:userops:problem:overloaded"
    for connection in connections:
        connection.close()
    end = time.monotonic() + 5
    while ask(stage, HEAD + b"\r\n")[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.05)
