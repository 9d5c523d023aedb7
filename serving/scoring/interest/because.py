"""Because of what? The line of a user's history that speaks most for an item or a category."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from configs.history import CART, PURCHASE, History
from serving.scoring.interest.needs import DAY_US
from serving.scoring.interest.statistics import CATEGORY_VALUES, ItemStatistics, places

__all__ = ["Past"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HALF_LIFE = CATEGORY_VALUES.index("half_life_days")
# Another item of the same category says less than the item itself or one that is often bought with it.
SAME_CATEGORY = 0.3
# A look says less than a basket, a basket less than a purchase.
BOUGHT, IN_CART, LOOK = 1.0, 0.8, 0.6
USUAL_HALF_LIFE = 30.0


class Past:
    """A user's lines up to an instant, as occasions: what is the same for every item and category is worked out once.

    ``as_of_us`` is one instant, or one for each line: then the lines may be those of many users, and `weight` is asked.
    A line counts by how near its item is to what is asked for (itself, its links, its category), by what was done, and
    halved every half-life of its category.
    """

    def __init__(self, statistics: ItemStatistics, history: History, as_of_us: int | Ints) -> None:
        self.statistics, self.history = statistics, history
        self.known = history.at_us <= as_of_us
        self.days = (as_of_us - history.at_us) / DAY_US
        self._done = np.where(history.kind == PURCHASE, BOUGHT, np.where(history.kind == CART, IN_CART, LOOK))
        self._left = 0.5 ** (self.days / _half_lives(statistics, history.category))
        self._places = places(statistics.items, history.item)
        self._any = bool(self.known.any())

    @property
    def weight(self) -> Floats:
        """What each line counts for what it is itself about; 0 after the instant."""
        return self._done * self._left * self.known

    def strongest(self, code: int) -> tuple[int, float] | None:
        """The number of the line and its age in days; None when no line has to do with ``code``."""
        if code == 0 or not self._any:
            return None
        statistics, history = self.statistics, self.history
        place, own = int(np.searchsorted(statistics.items, code)), 0
        if place < len(statistics.items) and int(statistics.items[place]) == code:
            row = int(statistics.category_of[place])
            own = 0 if row < 0 else int(statistics.categories[row])
        else:
            place = -1
        best = _strongest(
            (code, place, own),
            (history.item, history.category, self._places),
            (self._done, self._left, self.known),
            (statistics.together_start, statistics.together_item, statistics.together_value),
            (statistics.later_start, statistics.later_item, statistics.later_value),
        )
        return None if best < 0 else (best, float(self.days[best]))


def _half_lives(statistics: ItemStatistics, category: Ints) -> Floats:
    row = places(statistics.categories, category)
    values = statistics.category_values[np.maximum(row, 0), HALF_LIFE].astype(np.float64)
    return np.where((row >= 0) & (values > 0), values, USUAL_HALF_LIFE)


@njit(cache=True, nogil=True)
def _strongest(asked, lines, counts, together, later):  # type: ignore[no-untyped-def]
    """The first of the lines that count most, -1 where it is not known or has nothing to do with what is asked for.

    A line is as near as its item leads to the item at ``place``: bought in one order, or the one after.
    """
    code, place, own = asked
    item, category, row = lines
    done, left, known = counts
    best, most, nearest = 0, -1.0, 0.0
    for line in range(len(item)):
        near = 1.0 if item[line] == code or category[line] == code else 0.0
        if place >= 0 and near < 1.0:
            if own != 0 and category[line] == own:
                near = SAME_CATEGORY
            if row[line] >= 0:
                near = _linked(near, together, row[line], place)
                near = _linked(near, later, row[line], place)
        strength = near * done[line] * left[line] * known[line]
        if strength > most:
            best, most, nearest = line, strength, near
    return best if nearest > 0.0 and known[best] else -1


@njit(cache=True)
def _linked(near, links, row, place):  # type: ignore[no-untyped-def]
    start, target, value = links
    for at in range(start[row], start[row + 1]):
        if target[at] == place:
            near = max(near, min(np.float64(value[at]), 1.0))
    return near
