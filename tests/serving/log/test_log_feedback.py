"""Feedback: each event gets its own answer, once, and what is taken acts on the very next decision."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import IdempotencyConflict
from serving.log import ALL_CHANNELS, DAY_US, Action, DecisionLog, Feedback, GlobalCount, ShownOffer
from serving.log.judging import RESPONSES, TYPES, WINDOWS_US, Shown, digest_of, judge

NOW = 1_780_000_000_000_000
SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000


def event(number=1, kind="click", offer="a", at_us=NOW + MINUTE, decision="d_000001", **more):
    return Feedback(f"e{number}", decision, offer, kind, at_us, **more)


def errors(answer):
    return [(one.event_id, one.error) for one in answer.rejected]


@pytest.fixture
def shown(log, row):
    """A log with one decision for ``u`` that showed ``a`` and ``b``."""
    log.record(row())
    return log


def test_one_bad_event_is_named_and_the_others_are_taken(shown):
    batch = [
        event(1),
        event(2, decision="d_unknown"),
        event(3, offer="z"),
        event(4, rank=2),
        event(5, kind="hover"),
        event(6, at_us=NOW + 2 * HOUR + MINUTE + 1),
        event(7, at_us=NOW - MINUTE - 1),
        event(8, kind="return"),
        event(9, value=float("nan")),
        event(10, offer="a\x00"),
        event(11, offer=None),
        event(12, currency="\ud800"),
        event(13, kind="impression", offer="b", rank=2, at_us=NOW - MINUTE),
        event(14, kind="like", at_us=NOW + 2 * HOUR + MINUTE),
    ]
    answer = shown.feedback(batch, at_us=NOW + 2 * HOUR)
    assert (answer.accepted, answer.duplicates) == (3, 0)
    assert errors(answer) == [
        ("e2", "UNKNOWN_DECISION"),
        ("e3", "UNKNOWN_OFFER"),
        ("e4", "UNKNOWN_OFFER"),
        ("e5", "UNKNOWN_TYPE"),
        ("e6", "FUTURE_TIMESTAMP"),
        ("e7", "BEFORE_DECISION"),
        ("e8", "CONTRADICTORY"),
        ("e9", "INVALID_NUMBER"),
        ("e10", "INVALID_TEXT"),
        ("e11", "UNKNOWN_OFFER"),
        ("e12", "INVALID_TEXT"),
    ]
    assert all(one.detail for one in answer.rejected)
    taken = {action for action in shown.state("u", NOW + 2 * HOUR, after_us=0).actions if action.event != "decision"}
    assert taken == {
        Action("b", "impression", None, NOW - MINUTE),
        Action("a", "click", "sidebar", NOW + MINUTE),
        Action("a", "like", "sidebar", NOW + 2 * HOUR),  # a clock ahead of ours does not hide it
    }


def test_an_event_counts_once_in_a_batch_and_over_batches(shown):
    answer = shown.feedback([event(1), event(1), event(1, value=3.0)], at_us=NOW + HOUR)
    assert (answer.accepted, answer.duplicates, errors(answer)) == (1, 1, [("e1", "CONFLICTING_EVENT")])
    again = shown.feedback([event(1), event(1, offer="b"), event(2)], at_us=NOW + 2 * HOUR)
    assert (again.accepted, again.duplicates, errors(again)) == (1, 1, [("e1", "CONFLICTING_EVENT")])
    assert len(shown.state("u", NOW + HOUR, after_us=0).actions) == 4
    attributes = {"x": 1, "y": [2]}
    assert shown.feedback([event(3, attributes=attributes)], at_us=NOW + HOUR).accepted == 1
    turned = dict(reversed(attributes.items()))
    assert shown.feedback([event(3, attributes=turned)], at_us=NOW + HOUR).duplicates == 1


def test_a_rejected_event_may_come_again_when_it_makes_sense(shown):
    back = event(1, kind="return", value=5.0)
    assert errors(shown.feedback([back], at_us=NOW + HOUR)) == [("e1", "CONTRADICTORY")]
    assert shown.feedback([event(2, kind="order", value=5.0)], at_us=NOW + HOUR).accepted == 1
    assert shown.feedback([back], at_us=NOW + HOUR).accepted == 1


@pytest.mark.parametrize(("one", "other"), [("accept", "reject"), ("like", "not_interested")])
@pytest.mark.parametrize("apart", [True, False])
def test_of_a_contradiction_the_first_stands(shown, one, other, apart):
    first, second = event(1, kind=one), event(2, kind=other, at_us=NOW + 2 * MINUTE)
    if apart:
        assert shown.feedback([second], at_us=NOW + HOUR).accepted == 1
        assert errors(shown.feedback([first], at_us=NOW + HOUR)) == [("e1", "CONTRADICTORY")]
    else:  # judged in the order in which they happened
        assert errors(shown.feedback([second, first], at_us=NOW + HOUR)) == [("e2", "CONTRADICTORY")]
    assert shown.feedback([event(3, kind=other if not apart else one, offer="b")], at_us=NOW + HOUR).accepted == 1


def test_a_return_may_stand_before_its_order_in_a_batch(shown):
    batch = [event(1, kind="return", at_us=NOW + HOUR), event(2, kind="order", at_us=NOW + MINUTE)]
    assert shown.feedback(batch, at_us=NOW + HOUR).accepted == 2


def test_late_events_are_taken_and_flagged(shown):
    window = WINDOWS_US["click"]
    assert shown.feedback([event(1)], at_us=NOW + window).late == ()
    assert shown.feedback([event(2), event(3, kind="order")], at_us=NOW + window + 1).late == ("e2",)
    stored = shown._database.read("SELECT event_id, late FROM feedback ORDER BY event_id")
    assert stored == [("e1", 0), ("e2", 1), ("e3", 0)]


def test_a_key_gets_its_answer_again_and_no_other_body(shown, uri):
    batch = [event(1), event(2, decision="nowhere")]
    first = shown.feedback(batch, "key", at_us=NOW + HOUR)
    other = DecisionLog.open(uri)
    again = other.feedback(batch, "key", at_us=NOW + 2 * HOUR)
    assert again == dataclasses.replace(first, repeated=True)
    with pytest.raises(IdempotencyConflict):
        other.feedback([event(3)], "key", at_us=NOW + 2 * HOUR)
    with pytest.raises(IdempotencyConflict):
        other.feedback(batch, "key", at_us=NOW + 2 * HOUR, body_digest="what else was in the body")
    assert other.feedback([event(3)], "another key", at_us=NOW + 2 * HOUR).accepted == 1
    after_a_day = other.feedback([event(4)], "key", at_us=NOW + HOUR + DAY_US + 1)
    assert (after_a_day.accepted, after_a_day.repeated) == (1, False)
    other.close()


def test_processes_that_send_the_same_batch_take_each_event_once(shown, uri, start):
    code = """
import sys
from serving.log import DecisionLog, Feedback
log = DecisionLog.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
taken = 0
now = 1_780_000_000_000_000
for start in range(0, 300, 20):
    batch = [Feedback(f"e{i}", "d_000001", "ab"[i % 2], "click", now) for i in range(start, start + 20)]
    answer = log.feedback(batch, at_us=now)
    assert answer.accepted + answer.duplicates == 20, answer
    taken += answer.accepted
print(taken)
"""
    workers = [start(code, uri) for _ in range(2)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate(timeout=60)[0]) for worker in workers) == 300
    assert shown.response_counts() == {"wecom": (2, 2)}
    counts = shown.global_counts(["a", "b"], 0)
    assert {(count.offer_id, count.n) for count in counts if count.event == "click"} == {("a", 150), ("b", 150)}


def test_not_interested_is_known_to_the_next_decision_everywhere(shown, uri):
    said = event(1, kind="not_interested", attributes={"item_id": "milk", "why": ["had it"]})
    shown.feedback([said, event(2, kind="not_interested", offer="b", attributes={"item_id": 7})], at_us=NOW + HOUR)
    other = DecisionLog.open(uri)
    assert other.state("u", NOW + HOUR, after_us=0).not_interested == {
        "a": NOW + MINUTE,
        "milk": NOW + MINUTE,
        "b": NOW + MINUTE,
    }
    assert other.state("v", NOW + HOUR, after_us=0).not_interested == {}
    other.close()


@pytest.mark.parametrize(
    ("channel", "attributes", "opted_out"),
    [
        ("sms", {}, {"sms"}),
        (None, {}, {ALL_CHANNELS}),
        ("sms", {"scope": "all"}, {ALL_CHANNELS}),
    ],
)
def test_unsubscribe_is_about_a_channel_or_all(shown, channel, attributes, opted_out):
    said = event(1, kind="unsubscribe", offer=None, channel=channel, attributes=attributes)
    assert shown.feedback([said], at_us=NOW + HOUR).accepted == 1
    state = shown.state("u", NOW + HOUR, after_us=0)
    assert state.opted_out == opted_out
    assert state.is_opted_out("sms")
    assert state.is_opted_out("wecom") == (ALL_CHANNELS in opted_out)
    assert [action.event for action in state.actions] == ["decision", "decision"]


def test_an_offer_responds_once(shown, row):
    kinds = sorted(RESPONSES)
    shown.feedback([event(i, kind=kind) for i, kind in enumerate(kinds)], at_us=NOW + HOUR)
    assert shown.response_counts() == {"wecom": (2, 1)}
    shown.feedback([event(20, kind="order"), event(21, kind="impression", offer="b")], at_us=NOW + HOUR)
    assert shown.response_counts() == {"wecom": (2, 1)}
    shown.feedback([event(22, offer="b")], at_us=NOW + 9 * DAY_US)
    assert shown.response_counts() == {"wecom": (2, 2)}
    assert shown.response_counts(NOW + DAY_US) == {}, "a response counts on the day of its decision"


def test_the_same_offer_at_two_ranks_is_told_apart_by_rank(log, row):
    log.record(row(offers=(ShownOffer("a", 1, channel="x"), ShownOffer("a", 2, channel="y", placement="below"))))
    log.feedback([event(1, rank=2), event(2, at_us=NOW)], at_us=NOW + HOUR)
    assert log._database.read("SELECT event_id, rank, channel FROM feedback ORDER BY event_id") == [
        ("e1", 2, "y"),
        ("e2", 1, "x"),
    ]
    assert GlobalCount("a", "click", "2026-05-28", "below", 1) in log.global_counts(["a"], 0)


def test_five_hundred_events_over_many_decisions(log, row):
    for number in range(100):
        log.record(row(number, user_id=f"u{number % 9}"))
    batch = [
        event(i, decision=f"d_{i % 100:06d}", offer="ab"[i % 2], kind=("impression", "click")[i % 3 == 0])
        for i in range(500)
    ]
    answer = log.feedback(batch, "k", at_us=NOW + HOUR)
    assert (answer.accepted, answer.rejected) == (500, ())
    clicked = {(i % 100, i % 2) for i in range(500) if i % 3 == 0}
    assert log.response_counts() == {"wecom": (200, len(clicked))}
    counted = {(c.offer_id, c.event): c.n for c in log.global_counts(["a"], 0)}
    assert counted == {
        ("a", "decision"): 100,
        ("a", "click"): sum(i % 3 == 0 and i % 2 == 0 for i in range(500)),
        ("a", "impression"): sum(i % 3 != 0 and i % 2 == 0 for i in range(500)),
    }


EVENTS = st.lists(
    st.builds(
        Feedback,
        st.sampled_from(["1", "2", "3", "4", "5", "6"]),
        st.sampled_from(["d", "unknown"]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from([*TYPES, "other"]),
        st.integers(NOW - 2 * MINUTE, NOW + 2 * MINUTE),
    ),
    max_size=12,
)


@given(EVENTS, st.data())
def test_batches_or_one_by_one_in_the_order_of_events_is_the_same(events, data):
    def decision():
        return {"d": Shown("u", NOW, [ShownOffer("a", 1), ShownOffer("b", 2)])}

    at_once, duplicates, rejected = judge(events, {}, decision(), NOW)
    assert len(at_once) + duplicates + len(rejected) == len(events)
    ids = [one.event.event_id for one in at_once]
    assert len(ids) == len(set(ids))
    decisions, there, taken = decision(), {}, []
    for one in sorted(events, key=lambda one: one.at_us):
        part, _, _ = judge([one], there, decisions, NOW)
        there |= {part[0].event.event_id: part[0].digest} if part else {}
        taken += [item.event for item in part]
    assert taken == [item.event for item in at_once]
    said = {(item.event.offer_id, item.event.type) for item in at_once}
    for offer in "ab":
        assert not {(offer, "accept"), (offer, "reject")} <= said
        assert not {(offer, "like"), (offer, "not_interested")} <= said
        assert (offer, "return") not in said or (offer, "order") in said


VALUES = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.booleans(), max_size=2)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_equal_content_has_one_digest(attributes):
    turned = json.loads(json.dumps(dict(reversed(attributes.items()))))
    assert digest_of(event(attributes=attributes)) == digest_of(event(attributes=turned))
    assert digest_of(event(attributes=attributes)) != digest_of(event(attributes={**attributes, "more": 1}))
