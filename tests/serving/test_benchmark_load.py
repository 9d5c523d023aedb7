"""The load generator counts what a server answers, and how long it took."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest

from configs.errors import UseropsError
from serving.benchmark_load import Load, Workers, drive, get, post


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: ClassVar[list] = []
    ports: ClassVar[list] = []

    def do_GET(self):
        self.ports.append(self.client_address[1])
        self.answer(200 if self.path == "/good" else 404, b"{}")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        time.sleep(body.get("sleep", 0.0))
        if body.get("hang_up"):
            self.close_connection = True
            return
        status = body.get("status", 200)
        # In two packets, as large answers come.
        self.answer(status, json.dumps({"timing_ms": {"score": body.get("score", 1.0)}, "pad": "x" * 100_000}).encode())

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:10])
        self.wfile.flush()
        self.wfile.write(content[10:])

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    Handler.asked, Handler.ports = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_answer_counts_once_and_warming_up_does_not(port):
    load = drive(port, [post("/", {"number": number}) for number in range(3)], seconds=0.0, least=7, warm=2)
    assert len(load.taken_ms) == 7
    assert load.failed == 0
    assert [body["number"] for body in Handler.asked] == [0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_connections_ask_at_the_same_time(port):
    load = drive(port, [post("/", {"sleep": 0.2})], connections=4, seconds=0.0, least=8, warm=0)
    assert len(load.taken_ms) == 8
    assert load.taken_ms.min() >= 200
    assert load.seconds < 8 * 0.2


def greedy(first):
    """Two workers of which one takes the first connections, and then the other one all."""
    taken = {}

    def holding(ports):
        for port in ports:
            taken.setdefault(port, 1 if len(taken) < first else 2)
        return [taken[port] for port in ports]

    return taken, Workers(2, holding)


def test_workers_hold_as_many_connections_whoever_is_quicker_to_take_them(port):
    taken, workers = greedy(9)
    load = drive(port, [get("/good")], connections=6, seconds=0.0, least=12, warm=0, workers=workers)
    assert len(load.taken_ms) == 12
    assert sorted(taken[one] for one in set(Handler.ports)) == [1, 1, 1, 2, 2, 2]


def test_one_connection_is_one_whoever_takes_it(port):
    taken, workers = greedy(9)
    drive(port, [get("/good")], connections=1, seconds=0.0, least=3, warm=0, workers=workers)
    assert len(taken) == len(set(Handler.ports)) == 1


def test_a_worker_that_takes_none_is_an_error(port, monkeypatch):
    monkeypatch.setattr("serving.benchmark_load.ROUNDS", 3)
    with pytest.raises(UseropsError, match="takes no connection"):
        drive(port, [get("/good")], connections=4, seconds=0.0, warm=0, workers=greedy(1000)[1])


def test_stages_are_medians_and_other_answers_have_none(port):
    requests = [post("/", {"score": score}) for score in (1.0, 2.0, 9.0)]
    assert drive(port, requests, seconds=0.0, least=3, warm=0).stages_ms() == {"score": 2.0}
    assert drive(port, [get("/good")], seconds=0.0, least=2, warm=0).stages_ms() == {}


def test_a_failed_answer_is_counted_and_none_but_failed_ones_is_an_error(port):
    mixed = [post("/", {}), post("/", {"status": 503})]
    assert drive(port, mixed, seconds=0.0, least=4, warm=0).failed == 2
    with pytest.raises(UseropsError, match="every request failed"):
        drive(port, [get("/bad")], seconds=0.0, least=2, warm=0)


def test_a_server_that_hangs_up_is_an_error(port):
    with pytest.raises(UseropsError, match="closed a connection"):
        drive(port, [post("/", {"hang_up": True})], seconds=0.0, least=1, warm=0)


def test_intervals_hold_what_they_are_for():
    load = Load(np.linspace(1.0, 101.0, 1001), 1, 51.0, 0, ())
    for q in (0.5, 0.99):
        at, low, high = load.quantile_ms(q)
        assert at == pytest.approx(1 + 100 * q)
        assert low < at < high
    low, high = load.rps_interval()
    assert low < load.rps < high
