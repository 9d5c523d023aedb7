"""The follower: live events of the decision log's queue go online, whatever happens beside it, and into the store."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import load
from configs.history import CART, code, unpack
from features import fresh, online
from features.catalog import NAMES
from features.events import content_hash
from features.few_users import FewUsers
from features.ingest import ingest
from features.redis_server import redis_server
from features.store import Store
from serving import follow as module
from serving.follow import follow, hand_over
from serving.log import DecisionLog, LiveEvent

ROOT = Path(__file__).parents[2]
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
LIMIT = 120.0


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    few = FewUsers(load(tmp_path_factory.mktemp("few")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh, "FewUsers", lambda config: few)
        yield


@pytest.fixture
def config(tmp_path):
    rows = [
        {
            **dict.fromkeys(("channel", "store_id", "props", "order_id", "quantity", "amount")),
            "user_id": f"u{number % 5}",
            "event_type": "view",
            "item_id": "i1",
            "category_id": "c1",
            "event_at": NOW - timedelta(days=number),
            "ingested_at": NOW - timedelta(days=number),
        }
        for number in range(1, 30)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "events.parquet")
    config = load(tmp_path, now=NOW)
    ingest(config, "shop", tmp_path / "events.parquet")
    return config


@pytest.fixture
def queue(config):
    queue = DecisionLog.open(config.decisions_uri)
    yield queue
    queue.close()


def cart(event_id, user, item="i2", ago_us=0):
    return LiveEvent(event_id, user, "cart", NOW_US - ago_us, item_id=item)


class Following:
    """A follower in a thread, until the end of the block."""

    def __init__(self, config, queue, **options):
        self.stop = threading.Event()
        self.thread = threading.Thread(target=follow, args=(config, self.stop, queue), kwargs=options)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()


def wait(true):
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def refreshed(queue):
    return not queue.pending_events()


def carts(config, user):
    row = Store(config).decision_row(user)
    history = unpack(row.history)
    lines = [one for one, kind in zip(history.item.tolist(), history.kind.tolist(), strict=True) if kind == CART]
    return row.vector[NAMES.index("carts_7d")], lines


@pytest.mark.usefixtures("either_online_store")
def test_events_go_online_in_the_order_of_the_queue_and_count_once(config, queue):
    queue.events([cart("a", "u1"), cart("b", "new", "i3", 1)], at_us=NOW_US)
    with Following(config, queue, drain_every=None):
        wait(lambda: refreshed(queue))
        assert carts(config, "u1") == (1, [code("i2")])
        queue.events([cart("c", "u1", "i4"), cart("a", "u1")], at_us=NOW_US)
        wait(lambda: refreshed(queue))
        count, items = carts(config, "u1")
        assert (count, set(items)) == (2, {code("i2"), code("i4")})
    assert carts(config, "new") == (1, [code("i3")])
    # Another follower begins where that one stopped, and knows what it knew.
    queue.events([cart("d", "u1", "i5")], at_us=NOW_US)
    with Following(config, queue, drain_every=None):
        wait(lambda: refreshed(queue))
    assert carts(config, "u1")[0] == 3


def test_it_hands_over_when_idle_and_nothing_counts_twice(config, queue):
    queue.events([cart("a", "u1")], at_us=NOW_US)
    before = content_hash(config)
    with Following(config, queue, drain_every=0.0):
        wait(lambda: not queue.undrained_events())
        assert content_hash(config) != before
        queue.events([cart("b", "u1", "i3")], at_us=NOW_US)
        wait(lambda: refreshed(queue) and not queue.undrained_events())
    assert carts(config, "u1")[0] == 2
    after = content_hash(config)
    assert hand_over(config, queue) == 0
    # Killed between the two steps of a hand-over, it does both again.
    queue.events([cart("c", "u2")], at_us=NOW_US)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "mark_drained", lambda seqs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            hand_over(config, queue)
    stored = content_hash(config)
    assert stored != after
    assert hand_over(config, queue) == 1
    assert content_hash(config) == stored


def test_it_hands_over_also_where_there_is_always_something_to_do(config, queue, monkeypatch):
    queue.events([cart("a", "u1")], at_us=NOW_US)
    monkeypatch.setattr(queue, "mark_refreshed", lambda *_, **__: None)  # the next look finds it again
    with Following(config, queue, drain_every=0.01):
        wait(lambda: not queue.undrained_events())
    assert carts(config, "u1")[0] == 1


def test_who_worked_well_does_not_wait_as_long_as_who_fails_again_and_again(config, monkeypatch, caplog):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(module, "WELL_SECONDS", 0.05)
    stop, lived = threading.Event(), iter((0, 0, 0, 0.1, 0))

    def fail(*_):
        seconds = next(lived, None)
        if seconds is None:
            stop.set()
            return
        time.sleep(seconds)
        raise OSError("gone")

    monkeypatch.setattr(module, "_follow", fail)
    monkeypatch.setattr(module, "_alone", lambda *_: contextlib.nullcontext())
    follow(config, stop, object())
    waits = [record.args[0] for record in caplog.records]
    assert waits == pytest.approx([0.002, 0.004, 0.008, 0.002, 0.004])


def test_errors_are_said_and_tried_again(config, queue, monkeypatch, caplog):
    right, calls = fresh.Refresher.refresh, []

    def failing(self, *arguments, **options):
        calls.append(1)
        if len(calls) < 3:
            raise OSError("disk full")
        return right(self, *arguments, **options)

    monkeypatch.setattr(fresh.Refresher, "refresh", failing)
    monkeypatch.setattr(module, "MOST_SECONDS_BETWEEN_TRIES", 0.01)
    queue.events([cart("a", "u1")], at_us=NOW_US)
    with Following(config, queue, drain_every=None):
        wait(lambda: refreshed(queue))
    assert carts(config, "u1")[0] == 1
    assert "disk full" in caplog.text


@pytest.mark.usefixtures("either_online_store")
def test_a_publication_at_the_same_time_delays_and_loses_nothing(config, queue):
    with Following(config, queue, drain_every=None):
        with online.open_store(config.online_uri).publication():
            queue.events([cart("a", "u1")], at_us=NOW_US)
            time.sleep(0.3)
            assert not refreshed(queue)
        wait(lambda: refreshed(queue))
    assert carts(config, "u1")[0] == 1


def test_a_redis_that_goes_away_delays_and_loses_nothing(config, queue, redis_program, monkeypatch, caplog):
    monkeypatch.setattr(module, "MOST_SECONDS_BETWEEN_TRIES", 0.2)
    with redis_server("s3cret-of-tests") as server:
        monkeypatch.setenv("USEROPS_ONLINE", server.uri())
        with Following(config, queue, drain_every=None):
            queue.events([cart("a", "u1")], at_us=NOW_US)
            wait(lambda: refreshed(queue))
            server.stop()
            queue.events([cart("b", "u1", "i3")], at_us=NOW_US)
            wait(lambda: "live events wait" in caplog.text)
            assert not refreshed(queue)
            server.start()
            wait(lambda: refreshed(queue))
        assert carts(config, "u1")[0] == 2
    assert "s3cret-of-tests" not in caplog.text


def test_one_follows_at_a_time(config, queue, monkeypatch):
    begun = []

    def body(*_):
        begun.append(threading.current_thread())
        while not begun_by(begun[-1]).stop.wait(0.01):
            pass

    def begun_by(thread):
        return next(one for one in both if one.thread is thread)

    monkeypatch.setattr(module, "_follow", body)
    both = [Following(config, queue), Following(config, queue)]
    with both[1]:
        wait(lambda: len(begun) == 1)
        with both[0]:
            time.sleep(0.2)
            assert len(begun) == 1
            both[1].stop.set()
            wait(lambda: len(begun) == 2)


@pytest.mark.usefixtures("either_online_store")
def test_the_process_works_and_what_it_was_killed_in_goes_on(config, queue):
    environment = {**os.environ, "USEROPS_HOME": str(config.home), "USEROPS_NOW": NOW.isoformat()}
    follower = subprocess.Popen([sys.executable, "-W", "error", "-m", "serving.follow"], cwd=ROOT, env=environment)
    try:
        queue.events([cart("a", "u1")], at_us=NOW_US)
        wait(lambda: refreshed(queue) or follower.poll() is not None)
        assert carts(config, "u1")[0] == 1
    finally:
        follower.kill()
        follower.wait(LIMIT)
    queue.events([cart("b", "u1", "i3")], at_us=NOW_US)
    with Following(config, queue, drain_every=None):  # the lock went with the process
        wait(lambda: refreshed(queue))
    assert carts(config, "u1")[0] == 2


def test_the_process_ends_when_told(config, monkeypatch):
    told = []
    monkeypatch.setattr(module, "load", lambda: config)
    monkeypatch.setattr(
        module, "follow", lambda _, stop: (os.kill(os.getpid(), signal.SIGTERM), told.append(stop.is_set()))
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        module.main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert told == [True]
