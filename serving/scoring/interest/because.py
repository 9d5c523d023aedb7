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
WEIGHT = {PURCHASE: 1.0, CART: 0.8}
LOOK = 0.6
USUAL_HALF_LIFE = 30.0
LINKS = ("together", "later")


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
        self._done = np.select([history.kind == kind for kind in WEIGHT], list(WEIGHT.values()), LOOK)
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
        near = np.where((history.item == code) | (history.category == code), 1.0, 0.0)
        place = int(np.searchsorted(statistics.items, code))
        if place < len(statistics.items) and int(statistics.items[place]) == code:
            row = int(statistics.category_of[place])
            own = 0 if row < 0 else int(statistics.categories[row])
            if own != 0:
                near = np.maximum(near, SAME_CATEGORY * (history.category == own))
            links = [getattr(statistics, f"{kind}_{part}") for kind in LINKS for part in ("start", "item", "value")]
            _link(near, self._places, place, *links)
        strength = near * self._done * self._left * self.known
        best = int(np.argmax(strength))
        return (best, float(self.days[best])) if near[best] > 0 and self.known[best] else None


def _half_lives(statistics: ItemStatistics, category: Ints) -> Floats:
    row = places(statistics.categories, category)
    values = statistics.category_values[np.maximum(row, 0), HALF_LIFE].astype(np.float64)
    return np.where((row >= 0) & (values > 0), values, USUAL_HALF_LIFE)


@njit(cache=True, nogil=True)
def _link(near, lines, target, start, item, value, later_start, later_item, later_value):  # type: ignore[no-untyped-def]
    """Raise ``near`` to how strongly each line's item leads to ``target``: bought in one order, or the one after."""
    for line in range(len(lines)):
        row = lines[line]
        if row < 0:
            continue
        for place in range(start[row], start[row + 1]):
            if item[place] == target:
                near[line] = max(near[line], min(np.float64(value[place]), 1.0))
        for place in range(later_start[row], later_start[row + 1]):
            if later_item[place] == target:
                near[line] = max(near[line], min(np.float64(later_value[place]), 1.0))
