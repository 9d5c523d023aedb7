"""Origins against calendar arithmetic done by hand, and the promise that nothing learned comes from after the judge."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import OriginsConfig
from configs.errors import TrainingError
from training.splits import origins_before, rolling, split_at

START = datetime(2023, 1, 1, tzinfo=UTC)


def test_a_split_worked_out_by_hand():
    # 2024-06-29 minus 90 days is 2024-03-31; Monday 2024-04-01 is 1415 x 14 days after Monday 1970-01-05, so the grid
    # meets 2024-03-18 before it.
    first, last = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 29, 13, tzinfo=UTC)
    split = split_at(OriginsConfig(14, 3, 30), [14, 90], first, last)
    assert [f"{at:%m-%d}" for at in split.origins] == [
        *("02-05", "02-19", "03-04"),
        "03-18",
        *("04-01", "04-15", "04-29", "05-13", "05-27", "06-10"),
    ]


def test_the_grid_stays_where_it_is_when_a_week_goes_by():
    rule, first = OriginsConfig(14, 8, 40), datetime(2023, 1, 1, tzinfo=UTC)
    old, new = (set(split_at(rule, [30], first, datetime(2024, 6, day, tzinfo=UTC)).origins) for day in (3, 10))
    assert len(old & new) >= len(new) - 1


@given(
    st.integers(1, 40),
    st.integers(3, 30),
    st.integers(0, 90),
    st.lists(st.integers(1, 120), min_size=1, max_size=4),
    st.integers(400, 1200),
)
def test_no_label_crosses_the_instant_from_which_it_is_judged(every, most, warm_up, horizons, days):
    last = START + timedelta(days=days, hours=7)
    try:
        split = split_at(OriginsConfig(every, most, warm_up), horizons, START, last)
    except TrainingError:
        assert days - max(horizons) - warm_up < 4 * every + 1
        return
    assert list(split.origins) == sorted(set(split.origins))
    assert {(b - a).days for a, b in zip(split.origins, split.origins[1:], strict=False)} == {every}
    assert split.origins[0] >= START + timedelta(days=warm_up)
    assert split.judge + timedelta(days=max(horizons)) <= split.known_until <= last
    assert split.origins[-1] + timedelta(days=min(horizons)) <= split.known_until
    assert sum(at < split.judge for at in split.origins) <= most


def test_too_short_a_history_says_how_much_is_needed():
    with pytest.raises(TrainingError, match=r"at least 90 \(longest horizon\) \+ 60 \(warm-up\)"):
        split_at(OriginsConfig(14, 26, 60), [90], START, START + timedelta(days=100))


def test_origins_end_before_the_instant():
    assert origins_before(OriginsConfig(10, 2, 0), START + timedelta(days=30), START) == [
        START + timedelta(days=10),
        START + timedelta(days=20),
    ]


@given(st.integers(1, 20), st.integers(1, 4), st.integers(260, 800))
def test_rolling_origins_end_at_the_judged_one_and_can_all_be_learned_and_judged(count, every, days):
    rule, horizons, last = OriginsConfig(14, 8, 40), [14, 60], START + timedelta(days=days)
    found = rolling(rule, horizons, START, last, count, every)
    assert found[-1] == split_at(rule, horizons, START, last).judge
    assert {(b - a).days for a, b in pairwise(found)} <= {14 * every}
    assert 1 <= len(found) <= count
    for origin in found:
        assert origin + timedelta(days=60) <= last
        assert len(origins_before(rule, origin, START)) >= 3
    longer = rolling(rule, horizons, START, last, count + 1, every)
    assert longer[-len(found) :] == found
