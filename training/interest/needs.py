"""Learn the rhythm of each category: the usual gap, and how long after a purchase the need is satisfied.

The hazard is measured per order and not per day: of the orders that users place so many days after they last bought
from a category, which share holds it again, against the share that their other orders lead one to expect? Customers
who leave, or whose data end, place no orders and so bias nothing. The share is a dip after the purchase that fills up
around the usual interval, ``plateau / (1 + (days / half) ** -steepness)``; a category without a dip gets no window.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from configs.history import PURCHASE
from serving.scoring.interest.needs import DAY_US, Needs, purchase_days
from training.interest.histories import Histories

__all__ = ["learn_needs"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Days after a purchase, at equal steps of the logarithm.
EDGES = np.geomspace(0.5, 730.0, 43)
HALVES = np.geomspace(0.7, 500.0, 56)
STEEPNESS = (2.0, 4.0, 8.0)
# Below so many repeat purchases a category's own dip says nothing: all categories together speak for it.
LEAST_REPEATS = 40
# A dip must explain the repeats better than chance would: half the 99.9 % point of chi-square with 2 parameters.
LEAST_GAIN = 6.9
# The weight of what is known of all for one user or category, in orders and gaps.
PRIOR_ORDERS, PRIOR_GAPS = 4.0, 20.0


def learn_needs(histories: Histories, as_of_us: int) -> Needs:
    """The rhythm of every category bought at or before ``as_of_us``."""
    lines = histories.lines
    known = (lines.kind == PURCHASE) & (lines.category != 0) & (lines.at_us <= as_of_us)
    user, at_us = histories.user[known], lines.at_us[known]
    categories, category = np.unique(lines.category[known], return_inverse=True)
    if not len(categories):
        return Needs(categories, np.empty(0), np.empty(0), 1.0)
    pair, at_us = purchase_days(user * len(categories) + category, at_us)
    user, category = pair // len(categories), pair % len(categories)
    same = pair[1:] == pair[:-1]
    gaps = np.log(np.maximum(np.diff(at_us)[same] / DAY_US, 1.0))
    center, prior = _centers(gaps, category[1:][same], pair[1:][same], len(categories))
    seen, expected = _dips(user, category, at_us, len(categories))
    gap_days, window = _windows(seen, expected, np.exp(center))
    return Needs(categories.astype(np.int64), gap_days, window, prior)


def _centers(log_gap: Floats, category: Ints, pair: Ints, count: int) -> tuple[Floats, float]:
    """The mean log gap of each category, and how many own gaps of a user weigh as much as it."""
    overall = float(log_gap.mean()) if len(log_gap) else float(np.log(30.0))
    n = np.bincount(category, minlength=count)
    center = (np.bincount(category, log_gap, count) + PRIOR_GAPS * overall) / (n + PRIOR_GAPS)
    _, which, per_pair = np.unique(pair, return_inverse=True, return_counts=True)
    residual = log_gap - center[category]
    mean = np.bincount(which, residual) / per_pair if len(pair) else np.empty(0)
    several = per_pair[which] > 1
    within = float(((residual - mean[which])[several] ** 2).sum())
    freedom = int(several.sum()) - int((per_pair > 1).sum())
    if freedom < 30:
        return center, 4.0
    within /= freedom
    between = max(float((residual**2).mean()) - within, 0.05 * within)
    return center, float(np.clip(within / between, 0.5, 20.0))


def _windows(seen: Floats, expected: Floats, gap_days: Floats) -> tuple[Floats, Floats]:
    """The usual gap of each category, and for which share of it the need is satisfied."""
    days = np.sqrt(EDGES[:-1] * EDGES[1:])
    # All categories on one axis, days in units of the usual gap, spread over the same bins.
    place = np.clip(np.searchsorted(EDGES, days * (30.0 / gap_days[:, None])) - 1, 0, len(days) - 1)
    pooled = [
        np.asarray(np.bincount(place.reshape(-1), table.reshape(-1), len(days)), dtype=np.float64)
        for table in (seen, expected)
    ]
    general = min(_half(pooled[0], pooled[1], days) / 30.0, 1.0)
    usual, window = gap_days.copy(), np.full(len(gap_days), general)
    for category in np.flatnonzero(seen.sum(axis=1) >= LEAST_REPEATS):
        half = _half(seen[category], expected[category], days)
        # Gaps longer than the history are never seen, the dip after a purchase is: it may show the longer interval.
        usual[category] = max(gap_days[category], half)
        window[category] = half / usual[category]
    return usual, window


def _half(seen: Floats, expected: Floats, days: Floats) -> float:
    """After how many days a repeat is half as likely as later on; 0 when there is no dip."""
    use = expected > 0
    y, e, t = seen[use], expected[use], days[use]
    if y.sum() == 0:
        return 0.0
    halves, steepness = np.meshgrid(HALVES, STEEPNESS, indexing="ij")
    due = 1.0 / (1.0 + (t / halves[..., None]) ** -steepness[..., None])
    # The plateau that fits best is y.sum() / (e * due).sum(): what is left of the Poisson log-likelihood is this.
    total = (e * due).sum(axis=2)
    fit = np.where(total > 0, (y * np.log(np.maximum(due, 1e-12))).sum(axis=2) - y.sum() * np.log(total), -np.inf)
    best = np.unravel_index(int(np.argmax(fit)), fit.shape)
    gain = float(fit[best] + y.sum() * np.log(e.sum()))
    return float(halves[best]) if gain > LEAST_GAIN else 0.0


def _dips(user: Ints, category: Ints, at_us: Ints, categories: int) -> tuple[Floats, Floats]:
    """Orders by days since the category was last bought: those that hold it again, and how many would by taste alone.

    Both float64[categories, bins]; an order is all that a user buys on one day.
    """
    order = np.lexsort((category, at_us // DAY_US, user))
    user, category, day = user[order], category[order], at_us[order] / DAY_US
    overall = np.bincount(category, minlength=categories) / max(len(np.unique(user * 100_000 + day.astype(int))), 1)
    seen, expected = _count(user, category, day, overall, EDGES, PRIOR_ORDERS)
    return seen, expected


@njit(cache=True)
def _count(user, category, day, overall, edges, prior):  # type: ignore[no-untyped-def]
    seen = np.zeros((len(overall), len(edges) - 1))
    expected = np.zeros((len(overall), len(edges) - 1))
    last = np.full(len(overall), -1.0)
    times = np.zeros(len(overall))
    held = np.zeros(len(overall), np.bool_)
    own = np.empty(len(overall), np.int64)
    low = 0
    while low < len(user):
        high = low
        orders, kinds = 0, 0
        while high < len(user) and user[high] == user[low]:
            if high == low or int(day[high]) != int(day[high - 1]):
                orders += 1
            c = category[high]
            if times[c] == 0:
                own[kinds] = c
                kinds += 1
            times[c] += 1
            high += 1
        line = low
        while line < high:
            stop = line
            while stop < high and int(day[stop]) == int(day[line]):
                held[category[stop]] = True
                stop += 1
            for k in range(kinds):
                c = own[k]
                if last[c] >= 0:
                    lag = int(day[line]) - int(last[c])
                    b = min(max(int(np.searchsorted(edges, lag)) - 1, 0), len(edges) - 2)
                    y = 1.0 if held[c] else 0.0
                    seen[c, b] += y
                    # Leaving this order out: how often the user's other orders hold the category.
                    expected[c, b] += (times[c] - y + prior * overall[c]) / (orders - 1 + prior)
            for k in range(line, stop):
                held[category[k]] = False
                last[category[k]] = day[line]
            line = stop
        for k in range(kinds):
            times[own[k]] = 0.0
            last[own[k]] = -1.0
        low = high
    return seen, expected
