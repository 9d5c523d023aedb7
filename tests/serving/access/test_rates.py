"""How often a key may ask: counted here, or in Redis by everybody together."""

import time

import pytest

from configs.keys import Key
from serving.access.counts import Counts
from serving.access.rates import Rates


def key(number="1", rate="3/minute"):
    return Key(number, "wu", ("score",), "", "wu", "", rate=rate)


def test_each_window_holds_so_many_and_begins_with_its_first():
    now = [1000.0]
    rates = Rates("sqlite", clock=lambda: now[0])
    assert [rates.wait_s(key()) > 0 for _ in range(5)] == [False] * 3 + [True] * 2
    now[0] += 45
    assert 14 < rates.wait_s(key()) <= 15
    assert rates.wait_s(key("2")) == 0, "another key has a window of its own"
    now[0] += 15
    assert [rates.wait_s(key()) > 0 for _ in range(4)] == [False] * 3 + [True]


def test_a_key_without_a_rate_is_not_counted():
    rates = Rates("sqlite")
    assert {rates.wait_s(key(rate=None)) for _ in range(1000)} == {0.0}
    assert rates._own is None


def test_a_clock_that_is_put_back_keeps_nobody_out(monkeypatch):
    now = [1000.0]
    rates = Rates("sqlite", clock=lambda: now[0])
    for _ in range(4):
        rates.wait_s(key())
    at = time.time()
    monkeypatch.setattr(time, "time", lambda: at - 86_400)
    assert rates.wait_s(key()) <= 60
    now[0] += 61
    assert rates.wait_s(key()) == 0


def test_counts_end():
    now = [0.0]
    counts = Counts(lambda: now[0])
    assert [counts.incr("a", 10), counts.incr("a", 10, 2), counts.get("a"), counts.get("b")] == [1, 3, 3, 0]
    now[0] = 10.0
    assert counts.get("a") == 0
    assert counts.incr("a", 10) == 1
    counts.clear("a")
    assert (counts.get("a"), counts.check(), counts.reset()) == (0, True, 0)


def test_workers_with_a_redis_count_together(redis_uri):
    workers = [Rates(redis_uri) for _ in range(3)]
    allowed = sum(worker.wait_s(key("together", "5/hour")) == 0 for _ in range(4) for worker in workers)
    assert allowed == 5
    assert 3590 < workers[0].wait_s(key("together", "5/hour")) <= 3600


@pytest.mark.parametrize("uri", ["redis://127.0.0.1:1/0"])
def test_a_redis_that_does_not_answer_is_not_waited_for(uri, caplog):
    now = [0.0]
    rates = Rates(uri, clock=lambda: now[0])
    assert [rates.wait_s(key()) > 0 for _ in range(5)] == [False] * 3 + [True] * 2
    assert len(caplog.records) == 1, "asked once, and not again for some seconds"
    now[0] += 6
    rates.wait_s(key())
    assert len(caplog.records) == 2
