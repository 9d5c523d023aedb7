"""Histories in the statistics' numbers: rows instead of codes, numbers of orders instead of their names.

Orders: the purchases of one order code are one order, purchases without one are one order a day (UTC). They are
numbered 0, 1, .. by their first line, per user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numba import njit
from numpy.typing import NDArray

from configs.history import COLUMNS, History, unpack
from serving.scoring.interest.statistics import ItemStatistics, places

__all__ = ["DAY_US", "Lines", "lines_from", "lines_of", "number_orders"]

DAY_US = 86_400_000_000
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lines:
    """Many users' lines, one user after the other, each oldest first; n lines, u users; nobody can write them."""

    start: Ints  # [u + 1]: user k's lines are start[k] : start[k + 1]
    item: NDArray[np.int32]  # row in the statistics; unknown items I, I + 1, ..; -1 for null
    category: NDArray[np.int32]  # row in the statistics; -1 when unknown; of the item when the line has none
    at_us: Ints
    kind: NDArray[np.int8]
    quantity: NDArray[np.float64]
    order: NDArray[np.int32]  # the user's how manieth order from 0; -1 for views and carts
    unknown: Ints  # codes of the items I, I + 1, ..

    def __post_init__(self) -> None:
        for name in self.__slots__:
            getattr(self, name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.start) - 1


def lines_of(statistics: ItemStatistics, histories: Sequence[History], more_items: Ints | None = None) -> Lines:
    """Translate histories; `more_items` are codes that get a row as well although nobody bought them."""
    if len(histories) == 1:
        whole = histories[0]
    elif histories:
        whole = History(*(np.concatenate([getattr(one, name) for one in histories]) for name in COLUMNS))
    else:
        whole = unpack(np.empty(0))
    return lines_from(statistics, whole, np.array([0, *accumulate(map(len, histories))], np.int64), more_items)


def lines_from(statistics: ItemStatistics, whole: History, start: Ints, more_items: Ints | None = None) -> Lines:
    """Translate the lines of many users, those of user k at start[k] : start[k + 1]; see `lines_of`."""
    item, category, at_us, kind, quantity, order = (getattr(whole, name) for name in COLUMNS)
    row = places(statistics.items, item)
    strange = item[(row < 0) & (item != 0)]
    if more_items is not None:
        strange = np.concatenate([strange, more_items[(places(statistics.items, more_items) < 0) & (more_items != 0)]])
    unknown = np.unique(strange).astype(np.int64) if len(strange) else np.empty(0, np.int64)
    if len(unknown):
        row = np.where((row < 0) & (item != 0), len(statistics.items) + places(unknown, item), row)
    known = (row >= 0) & (row < len(statistics.items))
    of_line = places(statistics.categories, category)
    of_item = np.where(known, statistics.category_of[np.where(known, row, 0)], -1) if len(statistics.items) else of_line
    kind8 = np.asarray(kind, np.int8)
    at = np.asarray(at_us, np.int64)
    return Lines(
        start,
        row.astype(np.int32),
        np.where(category != 0, of_line, of_item).astype(np.int32),
        at,
        kind8,
        np.asarray(quantity, np.float64),
        number_orders(start, at, kind8, np.asarray(order, np.int64)),
        unknown,
    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def number_orders(start: Ints, at_us: Ints, kind: NDArray[np.int8], order: Ints) -> NDArray[np.int32]:
    """Number each user's purchases by order: int32[n], -1 for lines that are no purchase."""
    number = np.full(len(at_us), -1, np.int32)
    for user in range(len(start) - 1):
        last = -1
        for line in range(start[user], start[user + 1]):
            if kind[line] != 0:
                continue
            same = -1
            # Lines of one order stand close together: look back until one is found or a day has gone.
            for before in range(line - 1, start[user] - 1, -1):
                if at_us[line] - at_us[before] > 86_400_000_000:
                    break
                if kind[before] != 0 or order[before] != order[line]:
                    continue
                if order[line] != 0 or at_us[before] // 86_400_000_000 == at_us[line] // 86_400_000_000:
                    same = number[before]
                    break
            if same < 0:
                last += 1
                same = last
            number[line] = same
    return number
