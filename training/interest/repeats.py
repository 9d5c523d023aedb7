"""How items come back: usual gaps, the chance to return after k orders, and the half-life of each category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from serving.scoring.interest.lines import DAY_US
from serving.scoring.interest.statistics import HAZARD_ORDERS
from training.interest.marks import Marks

__all__ = ["Gaps", "UsualGaps", "gaps_of", "half_lives", "hazard_of", "usual_gaps"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PRIOR = 10.0  # how many observations the wider group counts as
GRID = 2.0 ** np.arange(-1, 7)  # half-lives, times the usual gap between orders (days) or one order
MOST_USERS = 20_000
MIXING = 1000.0  # observations that all categories together count as in the choice of one category's half-life


@dataclass(frozen=True)
class Gaps:
    """Between two purchases of one item by one user that follow each other."""

    item: Ints
    days: Floats
    orders: Floats


@dataclass(frozen=True)
class UsualGaps:
    """Geometric means, each drawn towards its category, the category towards all."""

    item_days: Floats
    item_orders: Floats
    category_days: Floats
    category_orders: Floats


def gaps_of(marks: Marks, size: int) -> Gaps:
    """All gaps; `size` bounds nothing but documents the rows."""
    inside = np.ones(len(marks.pair_order), np.bool_)
    inside[marks.pair_start[:-1]] = False
    later = np.flatnonzero(inside)
    item = np.repeat(marks.pair_item, marks.pair_orders)[later]
    here, before = marks.pair_order[later], marks.pair_order[later - 1]
    days = (marks.order_at_us[here] - marks.order_at_us[before]) / DAY_US
    return Gaps(item, np.maximum(days, 0.5), (here - before).astype(np.float64))


def usual_gaps(gaps: Gaps, category_of: NDArray[np.int32], groups: int) -> UsualGaps:
    """Geometric mean gaps of items and categories, float64[I] and float64[C]."""
    found = []
    for values in (gaps.days, gaps.orders):
        logs = np.log(values)
        middle = float(logs.mean()) if len(logs) else 0.0
        group = category_of[gaps.item]
        n = np.bincount(group, minlength=groups)
        category = (np.bincount(group, logs, groups) + PRIOR * middle) / (n + PRIOR)
        size = len(category_of)
        n = np.bincount(gaps.item, minlength=size)
        item = (np.bincount(gaps.item, logs, size) + PRIOR * category[category_of]) / (n + PRIOR)
        found.append((np.exp(item), np.exp(category)))
    (item_days, category_days), (item_orders, category_orders) = found
    return UsualGaps(item_days, item_orders, category_days, category_orders)


def hazard_of(
    marks: Marks, category_of: NDArray[np.int32], groups: int, size: int
) -> tuple[NDArray[np.float32], Floats, Floats]:
    """P(in the next order | last bought k + 1 orders ago): hazard[I, K], over all k [I], and by category [C]."""
    events, trials = _count_hazard(
        marks.pair_item, marks.pair_user, marks.pair_start, marks.pair_order, marks.user_start, size, HAZARD_ORDERS
    )
    total_events, total_trials = events.sum(axis=0), trials.sum(axis=0)
    everywhere = float(total_events.sum() / max(total_trials.sum(), 1.0))
    curve = (total_events + PRIOR * everywhere) / (total_trials + PRIOR)
    item_events, item_trials = events.sum(axis=1), trials.sum(axis=1)
    n = np.bincount(category_of, item_trials, groups)
    category = (np.bincount(category_of, item_events, groups) + PRIOR * everywhere) / (n + PRIOR)
    # What the curve would expect of this item's own trials, so that old trials do not make an item look bad.
    expected = trials @ curve
    group_expected = np.bincount(category_of, expected, groups)
    group_ratio = (np.bincount(category_of, item_events, groups) + 1.0) / (group_expected + 1.0)
    prior = PRIOR * max(everywhere, 1e-9)
    ratio = (item_events + prior * group_ratio[category_of]) / (expected + prior)
    hazard = (events + PRIOR * ratio[:, None] * curve) / (trials + PRIOR)
    overall = (item_events + PRIOR * category[category_of]) / (item_trials + PRIOR)
    return np.minimum(hazard, 1.0).astype(np.float32), overall, category


@njit(cache=True)  # type: ignore[untyped-decorator]
def _count_hazard(
    pair_item: Ints, pair_user: Ints, pair_start: Ints, pair_order: Ints, user_start: Ints, size: int, width: int
) -> tuple[Floats, Floats]:
    events, trials = np.zeros((size, width)), np.zeros((size, width))
    for pair in range(len(pair_item)):
        item, end = pair_item[pair], user_start[pair_user[pair] + 1]
        for k in range(pair_start[pair], pair_start[pair + 1]):
            here = pair_order[k]
            following = pair_order[k + 1] if k + 1 < pair_start[pair + 1] else end
            for order in range(here + 1, min(following + 1, end)):
                column = min(order - here, width) - 1
                trials[item, column] += 1.0
                events[item, column] += order == following
    return events, trials


def half_lives(marks: Marks, category_of: NDArray[np.int32], groups: int, seed: int) -> tuple[Floats, Floats, float]:
    """Half-life of each category in days and in orders, and of all categories in orders.

    Among `GRID`, the one under which an item's decayed share of the user's earlier orders correlates best with its
    being in the next order, over all items of the category; categories with few orders follow the rest.
    """
    gap = _usual_order_gap(marks)
    users = np.arange(len(marks.user_start) - 1)
    if len(users) > MOST_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, MOST_USERS, replace=False))
    group = category_of.astype(np.int64)
    found = []
    for unit in (gap, 0.0):
        moments = _half_life_moments(
            users,
            marks.user_start,
            marks.order_start,
            marks.order_at_us / DAY_US,
            marks.item,
            group,
            groups,
            GRID,
            unit,
        )
        everything = _correlation(moments.sum(axis=1))
        n = moments[0, :, 0]
        score = n[None, :] * _correlation(moments) + MIXING * everything[:, None]
        step = unit if unit > 0 else 1.0
        found.append((GRID[np.argmax(score, axis=0)] * step, float(GRID[np.argmax(everything)] * step)))
    return found[0][0], found[1][0], found[1][1]


def _usual_order_gap(marks: Marks) -> float:
    same = marks.order_user[1:] == marks.order_user[:-1]
    gaps = (np.diff(marks.order_at_us) / DAY_US)[same]
    return float(np.exp(np.log(np.maximum(gaps, 0.5)).mean())) if len(gaps) else 1.0


def _correlation(moments: Floats) -> Floats:
    """Squared correlation from (n, x, y, xx, xy) in the last axis; y is 0 or 1. 0 where it is undefined."""
    n, x, y, xx, xy = (moments[..., k] for k in range(5))
    covariance, spread_x, spread_y = n * xy - x * y, n * xx - x * x, n * y - y * y
    below = spread_x * spread_y
    defined = below > 1e-9
    return np.where(defined, covariance * np.abs(covariance) / np.where(defined, below, 1.0), 0.0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _half_life_moments(
    users: Ints,
    user_start: Ints,
    order_start: Ints,
    order_day: Floats,
    item: Ints,
    group: Ints,
    groups: int,
    grid: Floats,
    unit: float,
) -> Floats:
    """Moments [half-life, category, 5] over orders after a user's first with the item; unit 0: time is orders."""
    moments = np.zeros((len(grid), groups, 5))
    held = np.zeros((len(group), len(grid)))
    total = np.zeros(len(grid))
    now = np.zeros(len(group), np.bool_)
    last = np.zeros(len(group))
    own = np.empty(len(group), np.int64)
    scale = unit if unit > 0 else 1.0
    decay = 0.5 ** (1.0 / (grid * scale))
    for user in users:
        owned = 0
        total[:] = 0.0
        before = 0.0
        for order in range(user_start[user], user_start[user + 1]):
            t = order_day[order] if unit > 0 else float(order)
            if order > user_start[user]:
                total *= decay ** (t - before)
            for mark in range(order_start[order], order_start[order + 1]):
                now[item[mark]] = True
            for k in range(owned):
                i = own[k]
                c = group[i]
                for h in range(len(grid)):
                    x = held[i, h] * decay[h] ** (t - last[i]) / total[h]
                    moments[h, c, 0] += 1.0
                    moments[h, c, 1] += x
                    moments[h, c, 3] += x * x
                    if now[i]:
                        moments[h, c, 2] += 1.0
                        moments[h, c, 4] += x
            for mark in range(order_start[order], order_start[order + 1]):
                i = item[mark]
                now[i] = False
                if held[i, 0] == 0.0:
                    own[owned] = i
                    owned += 1
                for h in range(len(grid)):
                    held[i, h] = held[i, h] * decay[h] ** (t - last[i]) + 1.0
                last[i] = t
            total += 1.0
            before = t
        for k in range(owned):
            held[own[k], :] = 0.0
            last[own[k]] = 0.0
    return moments
