"""The probability of every shown offer at its rank: against enumeration, and against what really happens."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decision.assignment import dice, period_of, seed_of, share_of
from serving.decision.exploration import Explore, explore, plackett_luce

GREEDY = Explore("epsilon", 0.0, 0.2, 5, 0.0, 1.0)
WAYS = [
    Explore("epsilon", 0.3, 0.2, 5, 0.0, 1.0),
    Explore("softmax", 0.0, 0.5, 4, 0.02, 1.0),
    Explore("softmax", 0.0, 0.3, 2, 0.0, 1.0),
    Explore("softmax", 0.0, 1.0, 8, 0.05, 0.1),
]


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=6), st.integers(1, 6))
def test_plackett_luce_is_the_sum_over_all_orders(weights, ranks):
    table = plackett_luce(weights, ranks)
    expected = [[0.0] * len(weights) for _ in table]
    for order in itertools.permutations(range(len(weights))):
        p = 1.0
        for rank, a in enumerate(order):
            p *= weights[a] / math.fsum(weights[b] for b in order[rank:])
        for rank in range(len(table)):
            expected[rank][order[rank]] += p
    for row, wanted in zip(table, expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-9)
        assert math.fsum(row) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("limit", [1, 3, 6])
def test_what_is_shown_happens_as_often_as_it_is_said(how, limit):
    priorities = [5.0, 4.0, 3.5, 1.0, 0.5]
    trials = 12_000
    said: dict[tuple[int, int], float] = {}
    seen: dict[tuple[int, int], int] = {}
    for k in range(trials):
        slate = explore(priorities, limit, how, dice(seed_of(f"d_{k}")))
        assert len(set(slate.order)) == len(slate.order) == min(limit, len(priorities))
        for rank, (a, p) in enumerate(zip(slate.order, slate.probabilities, strict=True)):
            assert said.setdefault((rank, a), p) == p, "one action at one rank has one probability"
            seen[rank, a] = seen.get((rank, a), 0) + 1
    for rank in range(min(limit, len(priorities))):
        # What was never seen in 12,000 draws is rarer than 1 in 1,000.
        assert math.fsum(p for (r, _), p in said.items() if r == rank) == pytest.approx(1.0, abs=5e-3)
    for key, p in said.items():
        assert abs(seen[key] / trials - p) <= 4.5 * math.sqrt(p * (1 - p) / trials) + 1e-12, (key, p, seen[key])


@pytest.mark.parametrize("how", WAYS)
def test_every_candidate_keeps_the_floor_at_every_rank(how):
    n = 12
    floor = how.mix(n) / n
    for k in range(300):
        slate = explore([float(n - a) for a in range(n)], 4, how, dice(k))
        assert min(slate.probabilities) >= floor
        assert max(slate.probabilities) <= 1.0


def test_the_floor_gives_way_to_the_largest_random_share():
    assert Explore("softmax", 0.0, 0.2, 5, 0.02, 0.1).mix(3) == pytest.approx(0.06)
    assert Explore("softmax", 0.0, 0.2, 5, 0.02, 0.1).mix(50) == 0.1


@given(st.lists(st.floats(0.1, 9.0), min_size=1, max_size=20), st.integers(1, 5), st.integers(0, 2**63 - 1))
def test_without_exploration_the_best_come_first_for_sure(priorities, limit, seed):
    priorities.sort(reverse=True)
    slate = explore(priorities, limit, GREEDY, dice(seed))
    assert slate.order == tuple(range(min(limit, len(priorities))))
    assert set(slate.probabilities) == {1.0}
    assert not slate.explored


def test_the_dice_of_a_seed_never_change():
    # Written down once: a replay years from now must throw the same.
    throw = dice(seed_of("d_1"))
    assert [round(throw(), 12) for _ in range(3)] == [0.421542969969, 0.420209002852, 0.744375338591]
    assert seed_of("d_1") != seed_of("d_2")


def test_a_share_of_users_is_that_share_and_changes_with_the_period():
    users = [f"u_{k}" for k in range(20_000)]
    november = {user for user in users if share_of("h", user, "2026-11") < 0.1}
    december = {user for user in users if share_of("h", user, "2026-12") < 0.1}
    assert len(november) == pytest.approx(2_000, abs=4.5 * math.sqrt(20_000 * 0.09))
    assert len(november & december) == pytest.approx(200, abs=4.5 * math.sqrt(200))


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_period_changes_only_at_its_edge(us):
    day = 86_400_000_000
    same_day = us // day * day
    for period in ("week", "month", "quarter", "year", "always"):
        assert period_of(us, period) == period_of(same_day, period)
