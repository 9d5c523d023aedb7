"""What reviewers read: the newest decisions and those of one user, page by page, and the feedback on one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.log import DecisionLog, DecisionRow, Feedback, Listed, Place, Received, ShownOffer
from serving.log.migrate import HEAD, migrate, version

NOW = 1_780_000_000_000_000


def pages(log, user_id, most):
    """Every page, one after the other."""
    found, before = [], None
    while page := log.listed(user_id, before, most):
        assert len(page) <= most
        found.append(page)
        before = page[-1].place
    return found


def test_a_line_says_what_was_shown_where(log, row):
    log.record(row())
    log.record(row(2, decided_at_us=NOW + 1, status="fallback", status_reason="TIMEOUT", offers=(ShownOffer("f", 1),)))
    log.record(row(3, decided_at_us=NOW + 2, status="holdout", status_reason="HOLDOUT", offers=(), user_id="v"))
    assert log.listed() == [
        Listed("d_000003", "v", NOW + 2, "holdout", "HOLDOUT", "r1"),
        Listed("d_000002", "u", NOW + 1, "fallback", "TIMEOUT", "r1", ("f",)),
        Listed("d_000001", "u", NOW, "decided", None, "r1", ("a", "b"), "wecom", "sidebar"),
    ]
    assert [one.decision_id for one in log.listed("u")] == ["d_000002", "d_000001"]
    assert [one.decision_id for one in log.listed(most=1)] == ["d_000003"]
    assert log.listed("nobody") == []


@pytest.mark.parametrize("user_id", ["a\x00", "\ud800", "' OR 1=1 --", "%"])
def test_a_user_that_cannot_be_has_decided_nothing(log, row, user_id):
    log.record(row())
    assert log.listed(user_id) == []
    assert log.feedback_of(user_id) == []
    assert log.listed("u", Place(NOW, user_id)) in ([], log.listed("u"))
    assert log.listed("u", Place(10**30, "x")) == []


MADE = st.lists(st.tuples(st.integers(0, 4), st.sampled_from("uvw")), max_size=25)


@pytest.mark.parametrize("kind", ["many at one instant"])
@given(MADE, st.sampled_from([None, *"uvw"]), st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_pages_hold_every_decision_once_newest_first(template, kind, made, user_id, most):
    log = DecisionLog.open(f"sqlite:///{template}")
    log.forget("uvw", NOW)
    log.lift("uvw")
    for number, (later, name) in enumerate(made):
        row = DecisionRow(
            *(f"d_{number:06d}", f"q_{number}", name, NOW + later, "decided", None, "b", "r", "p", ""),
            *(b"", b"", b"{}", b"{}"),
        )
        assert log.record(row) is None
    expected = sorted(
        ((NOW + later, f"d_{number:06d}") for number, (later, name) in enumerate(made) if user_id in (None, name)),
        reverse=True,
    )
    found = pages(log, user_id, most)
    log.forget("uvw", NOW)
    log.lift("uvw")
    log.close()
    assert [one.place for page in found for one in page] == expected
    assert all(len(page) == most for page in found[:-1])


def test_feedback_comes_back_in_the_order_in_which_it_happened(log, row):
    log.record(row())
    log.record(row(2))
    hostile = {"comment": "<script>alert(1)</script>", "深": [1, None]}
    log.feedback(
        [
            Feedback("e3", "d_000001", None, "unsubscribe", NOW + 3_000_000, channel="wecom"),
            Feedback("e2", "d_000001", "b", "order", NOW + 2_000_000, value=12.5, currency="CNY", attributes=hostile),
            Feedback("e1", "d_000001", "a", "click", NOW + 1_000_000),
            Feedback("other", "d_000002", "a", "click", NOW),
        ],
        at_us=NOW + 9_000_000,
    )
    at = NOW + 9_000_000
    assert log.feedback_of("d_000001") == [
        Received("e1", "a", 1, "click", NOW + 1_000_000, at, False, channel="wecom"),
        Received("e2", "b", 2, "order", NOW + 2_000_000, at, False, 12.5, "CNY", "wecom", hostile),
        Received("e3", None, None, "unsubscribe", NOW + 3_000_000, at, False, channel="wecom"),
    ]
    assert log.feedback_of("d_000003") == []


def test_late_feedback_says_so(log, row):
    log.record(row())
    log.feedback([Feedback("in time", "d_000001", "a", "click", NOW)], at_us=NOW)
    log.feedback([Feedback("late", "d_000001", "b", "click", NOW)], at_us=NOW + 30 * 86_400_000_000)
    assert [(one.event_id, one.late) for one in log.feedback_of("d_000001")] == [("in time", False), ("late", True)]


def test_the_step_before_is_enough_for_reading_and_forward_keeps_every_row(fresh, row):
    log = DecisionLog.open(fresh)
    for number in range(5):
        log.record(row(number, user_id="uv"[number % 2], decided_at_us=NOW + number))
    log.record(row(9, decided_at_us=NOW - 1))
    expected = pages(log, "u", 2)
    migrate(log._database, "0002")
    assert version(log._database) == "0002"
    assert pages(log, "u", 2) == expected
    DecisionLog.open(fresh).close()
    assert version(log._database) == HEAD
    assert [one.decision_id for page in pages(log, "u", 2) for one in page] == [
        "d_000004",
        "d_000002",
        "d_000000",
        "d_000009",
    ]
    log.close()


def test_a_page_is_read_from_its_place(tmp_path, row):
    """No page sorts what it does not show: SQLite's plan names an index and no temporary B-tree."""
    log = DecisionLog.open(f"sqlite:///{tmp_path / 'd.db'}")
    for sql, index in (
        ("user_id = 'u' AND (decided_at_us, decision_id) < (5, 'x')", "decisions_by_user_and_time"),
        ("(decided_at_us, decision_id) < (5, 'x')", "decisions_by_time"),
    ):
        plan = log._database.read(
            f"EXPLAIN QUERY PLAN SELECT status FROM decisions WHERE {sql} "
            "ORDER BY decided_at_us DESC, decision_id DESC LIMIT 50"
        )
        assert len(plan) == 1
        assert index in plan[0][-1]
    log.close()
