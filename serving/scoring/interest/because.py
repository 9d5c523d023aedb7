"""Because of what? The line of a user's history that speaks most for an item or a category."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs.history import CART, PURCHASE, History
from serving.scoring.interest.needs import DAY_US
from serving.scoring.interest.statistics import CATEGORY_VALUES, ItemStatistics, places

__all__ = ["strongest"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HALF_LIFE = CATEGORY_VALUES.index("half_life_days")
# Another item of the same category says less than the item itself or one that is often bought with it.
SAME_CATEGORY = 0.3
# A look says less than a basket, a basket less than a purchase.
WEIGHT = {PURCHASE: 1.0, CART: 0.8}
LOOK = 0.6
USUAL_HALF_LIFE = 30.0


def strongest(statistics: ItemStatistics, history: History, as_of_us: int, code: int) -> tuple[int, float] | None:
    """The number of the line and its age in days; None when no line has to do with ``code``.

    A line counts by how near its item is to ``code`` (itself, its links, its category), by what was done, and halved
    every half-life of its category.
    """
    known = history.at_us <= as_of_us
    if code == 0 or not known.any():
        return None
    days = (as_of_us - history.at_us) / DAY_US
    near = np.where((history.item == code) | (history.category == code), 1.0, 0.0)
    place = int(places(statistics.items, np.array([code]))[0])
    if place >= 0:
        row = int(statistics.category_of[place])
        own = 0 if row < 0 else int(statistics.categories[row])
        near = np.maximum(near, SAME_CATEGORY * ((history.category == own) & (own != 0)))
        near = np.maximum(near, _linked(statistics, history.item, place))
    done = np.select([history.kind == kind for kind in WEIGHT], list(WEIGHT.values()), LOOK)
    strength = near * done * 0.5 ** (days / _half_lives(statistics, history.category)) * known
    best = int(np.argmax(strength))
    return (best, float(days[best])) if near[best] > 0 and known[best] else None


def _half_lives(statistics: ItemStatistics, category: Ints) -> Floats:
    row = places(statistics.categories, category)
    values = statistics.category_values[np.maximum(row, 0), HALF_LIFE].astype(np.float64)
    return np.where((row >= 0) & (values > 0), values, USUAL_HALF_LIFE)


def _linked(statistics: ItemStatistics, items: Ints, target: int) -> Floats:
    """How strongly each item leads to ``target``, in [0, 1]: bought in one order, or the one after the other."""
    row = places(statistics.items, items)
    sources, source_of = np.unique(row, return_inverse=True)
    strength = np.zeros(len(sources))
    known = np.flatnonzero(sources >= 0)
    for kind in ("together", "later"):
        start, to, value = (getattr(statistics, f"{kind}_{part}") for part in ("start", "item", "value"))
        begin, end = start[sources[known]].astype(np.int64), start[sources[known] + 1].astype(np.int64)
        # The links of all sources, one after the other.
        before = np.cumsum(end - begin) - (end - begin)
        links = np.arange((end - begin).sum()) + np.repeat(begin - before, end - begin)
        hits = np.flatnonzero(to[links] == target)
        source = np.repeat(known, end - begin)[hits]
        np.maximum.at(strength, source, np.minimum(value[links[hits]].astype(np.float64), 1.0))
    return strength[source_of]
