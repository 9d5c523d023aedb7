"""The queue of live behaviour: each event once, in order, until the event store has it."""

import dataclasses
import time

from serving.log import DAY_US, LiveEvent

NOW = 1_780_000_000_000_000
FULL = LiveEvent("full", "u", "purchase", NOW, "app", "fresh", "milk", "s1", "o1", 2.0, 0.1 + 0.2, '{"discount": 1.5}')


def view(number, user="u", at_us=NOW, **more):
    return LiveEvent(f"e{number}", user, "view", at_us, **more)


def test_what_was_queued_comes_back_in_order(log):
    assert log.events([FULL, view(1)], at_us=NOW + 5).accepted == 2
    first, second = log.pending_events()
    assert (first.event, first.received_at_us, second.event) == (FULL, NOW + 5, view(1))
    assert first.seq < second.seq


def test_each_event_is_queued_once(log):
    changed = dataclasses.replace(FULL, amount=0.3)
    answer = log.events([FULL, FULL, changed, view(1)], at_us=NOW)
    assert (answer.accepted, answer.duplicates) == (2, 1)
    assert [(one.event_id, one.error) for one in answer.rejected] == [("full", "CONFLICTING_EVENT")]
    answer = log.events([FULL, dataclasses.replace(view(1), item_id="i"), view(2)], at_us=NOW)
    assert (answer.accepted, answer.duplicates) == (1, 1)
    assert [(one.event_id, one.error) for one in answer.rejected] == [("e1", "CONFLICTING_EVENT")]
    assert [one.event.event_id for one in log.pending_events()] == ["full", "e1", "e2"]
    assert answer.last_seq == log.pending_events()[-1].seq


def test_one_bad_event_is_named_and_the_others_are_queued(log):
    bad = [
        view(1, at_us=NOW + 60_000_001),
        view(2, quantity=float("inf")),
        view(3, item_id="a\x00b"),
        view(4, user="\ud800"),
        view(5, at_us=-1),
        view(7, amount=10**400),
    ]
    answer = log.events([*bad, view(6, at_us=NOW + 60_000_000)], at_us=NOW)
    assert [(one.event_id, one.error) for one in answer.rejected] == [
        ("e1", "FUTURE_TIMESTAMP"),
        ("e2", "INVALID_NUMBER"),
        ("e3", "INVALID_TEXT"),
        ("e4", "INVALID_TEXT"),
        ("e5", "BEFORE_1970"),
        ("e7", "INVALID_NUMBER"),
    ]
    assert [one.event.event_id for one in log.pending_events()] == ["e6"]
    assert log.events([], at_us=NOW).last_seq == answer.last_seq


def test_the_refresher_goes_on_where_it_was(log):
    log.events([view(number) for number in range(10)], at_us=NOW)
    part = log.pending_events(most=4)
    assert [one.event.event_id for one in part] == ["e0", "e1", "e2", "e3"]
    assert log.pending_events(most=4) == part, "nothing is refreshed by looking"
    log.mark_refreshed(part[-1].seq, at_us=NOW + 1)
    assert log.pending_events(most=1)[0].event.event_id == "e4"
    assert log.pending_events(part[1].seq, most=1)[0].event.event_id == "e2"
    log.mark_refreshed(part[0].seq, at_us=NOW + 2)
    assert log.pending_events(most=1)[0].event.event_id == "e4", "never back"
    health = log.state("u", NOW, after_us=0).health
    assert health == (part[0].seq + 9, part[-1].seq, NOW + 2)


def test_drained_events_are_the_event_store_s(log):
    log.events([view(number, user=f"u{number % 2}") for number in range(6)], at_us=NOW)
    everything = log.undrained_events()
    assert [one.event.event_id for one in everything] == [f"e{number}" for number in range(6)]
    assert log.undrained_events(after_seq=everything[1].seq, most=2) == everything[2:4]
    assert log.undrained_events(["u1", "u1", "nobody"]) == everything[1::2]
    assert log.undrained_events([]) == []
    assert log.mark_drained([one.seq for one in everything[:3]]) == 3
    assert log.mark_drained([one.seq for one in everything[:4]]) == 1
    assert log.undrained_events() == everything[4:]
    assert log.undrained_events(["u1"]) == everything[5:]
    assert len(log.state("u1", NOW, after_us=0).fresh) == 3, "published or not is told by after_us"


def test_a_place_in_the_queue_is_never_given_twice(log):
    log.events([view(1), view(2)], at_us=NOW)
    last = log.pending_events()[-1].seq
    log.forget(["u"], NOW)
    assert log.events([view(3, user="v")], at_us=NOW).last_seq > last


def test_upkeep_forgets_only_what_the_event_store_has_had_for_long(log):
    log.events([view(1), view(2)], at_us=NOW)
    log.mark_drained([log.pending_events()[0].seq])
    log.maintain(NOW + 100 * DAY_US)
    assert len(log.pending_events()) == 2
    log.maintain(NOW + 100 * DAY_US + 1)
    assert len(log.pending_events()) == 2, "looked for once an hour"
    log.maintain(NOW + 101 * DAY_US)
    assert [one.event.event_id for one in log.pending_events()] == ["e2"]


def test_a_reader_that_follows_misses_none_while_others_write(log, uri, start):
    code = """
import sys
from serving.log import DecisionLog, LiveEvent
log = DecisionLog.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for i in range(80):
    log.events([LiveEvent(f"{sys.argv[2]}-{i}-{j}", "u", "view", 5) for j in range(3)], at_us=5)
"""
    writers = [start(code, uri, me) for me in ("left", "right")]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    seen, after, over = [], 0, False
    while True:
        over = all(writer.poll() is not None for writer in writers)
        part = log.pending_events(after, most=50)
        seen += [one.event.event_id for one in part]
        after = part[-1].seq if part else after
        if over and not part:
            break
        time.sleep(0 if part else 0.005)
    expected = {f"{me}-{i}-{j}" for me in ("left", "right") for i in range(80) for j in range(3)}
    assert len(seen) == len(expected)
    assert set(seen) == expected
