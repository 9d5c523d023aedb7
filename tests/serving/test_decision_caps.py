"""Caps count what the calendar says, held against an oracle that thinks in dates."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decision.caps import DAY_US, Cap, Counts, read_cap, read_caps, window_start
from serving.decision.inputs import Action, GlobalCount

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(0, 4_000_000_000_000_000)
UNITS = {"day": 93, "week": 13, "month": 3}


@st.composite
def windows(draw):
    unit = draw(st.sampled_from(sorted(UNITS)))
    return draw(st.integers(1, UNITS[unit])), unit, draw(st.booleans())


def at(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def bucket(moment: datetime, unit: str) -> int:
    if unit == "day":
        return moment.toordinal()
    if unit == "week":
        return (moment.date() - timedelta(days=moment.weekday())).toordinal() // 7
    return moment.year * 12 + moment.month


def inside(event: datetime, now: datetime, n: int, unit: str, rolling: bool) -> bool:
    """The oracle: the same words, in calendar terms."""
    if event > now:
        return False
    if rolling:
        return now - event < timedelta(days=n * {"day": 1, "week": 7, "month": 30}[unit])
    return bucket(now, unit) - n < bucket(event, unit) <= bucket(now, unit)


@given(INSTANTS, st.integers(-100 * DAY_US, 2 * DAY_US), windows())
def test_a_window_holds_what_its_calendar_holds(now_us, ago, window):
    event_us = max(now_us - ago, 0)
    cap = Cap("c", "impression", False, 1, *window, False)
    hit = Counts((Action("o", "impression", "p", event_us),), (), now_us, "p").hit("o", (cap,))
    assert (hit is not None) == inside(at(event_us), at(now_us), *window)


@given(INSTANTS, windows())
def test_the_edges_of_a_window_are_exact(now_us, window):
    cap = Cap("c", "impression", False, 1, *window, False)
    start = window_start(cap, now_us)
    for edge, counted in ((start, True), (start - 1, False), (now_us, True), (now_us + 1, False)):
        if edge < 0:
            continue
        hit = Counts((Action("o", "impression", None, edge),), (), now_us, None).hit("o", (cap,))
        assert (hit is not None) is counted, (edge, window)
        assert inside(at(edge), at(now_us), *window) is counted


@given(
    st.lists(
        st.builds(
            Action,
            st.sampled_from(["o", "other"]),
            st.sampled_from(["impression", "click", "shared"]),
            st.sampled_from(["p", "q", None]),
            st.integers(0, 60).map(lambda day: 1_700_000_000_000_000 - day * DAY_US),
        ),
        max_size=30,
    ),
    st.integers(1, 6),
    windows(),
    st.booleans(),
    st.sampled_from(["impression", "click", "shared"]),
)
def test_a_cap_counts_its_event_its_offer_and_its_placement(actions, limit, window, each, event):
    now = 1_700_000_000_000_000
    cap = Cap("c", event, False, limit, *window, each)
    expected = [
        action
        for action in actions
        if action.event == event
        and (not each or action.placement == "p")
        and inside(at(action.at_us), at(now), *window)
    ]
    mine = [action for action in expected if action.offer_id == "o"]
    counts = Counts(tuple(actions), (), now, "p")
    assert counts.hit("o", (cap,)) == (("c", len(mine)) if len(mine) >= limit else None)
    assert counts.pressed((cap,)) == (("c", len(expected)) if len(expected) >= limit else None)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.sampled_from(["p", None])), max_size=10),
    windows().filter(lambda window: not window[2]),
    st.booleans(),
)
def test_a_global_cap_adds_up_the_days_of_its_window(lines, window, each):
    now = 1_700_000_000_000_000
    counts = [
        GlobalCount("o", "order", (at(now) - timedelta(days=ago)).date().isoformat(), placement, n)
        for ago, n, placement in lines
    ]
    total = sum(
        n
        for ago, n, placement in lines
        if inside(at(now) - timedelta(days=ago), at(now), *window) and (not each or placement == "p")
    )
    cap = Cap("c", "order", True, 5, *window, each)
    assert Counts((), tuple(counts), now, "p").hit("o", (cap,)) == (("c", total) if total >= 5 else None)


def test_the_first_rule_hit_wins():
    now = 10 * DAY_US
    seen = tuple(Action("o", "impression", None, now - k) for k in range(3))
    day, week = (Cap(name, "impression", False, 3, n, "day", True, False) for name, n in (("day", 1), ("week", 7)))
    assert Counts(seen, (), now, None).hit("o", (day, week)) == ("day", 3)
    assert Counts(seen, (), now, None).hit("o", (week, day)) == ("week", 3)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ({"limit": 3, "window": {"n": 7, "rolling": True}}, "per_user_3_per_7d"),
        ({"limit": 1, "window": {"unit": "month"}}, "per_user_1_per_calendar_month"),
        ({"limit": 2, "event": "click", "window": {"n": 2, "unit": "week"}}, "per_user_2_click_per_2_calendar_weeks"),
        ({"limit": 9, "scope": "global", "window": {}}, "global_9_per_calendar_day"),
        ({"limit": 9, "placement": "each", "window": {}}, "per_user_9_per_calendar_day_each_placement"),
        ({"limit": 9, "name": "mine", "window": {}}, "mine"),
    ],
)
def test_a_cap_is_named_after_its_rule(rule, name):
    assert read_cap(rule, ())["name"] == name


def test_a_cap_set_stands_for_its_rules():
    gentle = [read_cap({"limit": 3, "window": {"n": 7}}, ())]
    once = {"limit": 1, "event": "order", "window": {"unit": "month"}}
    names = [cap["name"] for cap in read_caps(["gentle", once], (), {"gentle": gentle})]
    assert names == ["per_user_3_per_7_calendar_days", "per_user_1_order_per_calendar_month"]
