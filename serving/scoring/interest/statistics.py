"""What is known about items and categories at one moment: plain arrays, one copy for all workers.

An item is a row 0 .. I-1 in the order of its code, a category a row 0 .. C-1. Square tables of items are sparse: row r
of a `Links` holds at most as many targets as training kept, the strongest ones. `training.interest.statistics` counts
them; nothing here changes after that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from configs.errors import BundleError

__all__ = ["CATEGORY_VALUES", "HAZARD_ORDERS", "ITEM_VALUES", "LINKS", "ItemStatistics", "places"]

Ints = NDArray[np.int64]

# Columns of ItemStatistics.item_values; each is a feature of the same name.
ITEM_VALUES = (
    "popularity_now",  # orders with it, per order, decayed with the short half-life
    "popularity_before",  # the same with the long half-life
    "popularity_last",  # share of users' latest orders that hold it
    "buyers_share",  # share of users who ever bought it
    "item_basket_size",  # mean size of the orders that hold it
    "repeat_rate",  # share of its buyers who bought it again
    "repeat_next",  # P(in an order | bought before by this user)
    "item_gap_days",  # usual days between two purchases of it by one user
    "item_gap_orders",  # the same in orders
    "item_age_days",  # since anybody first bought it
    "item_views",  # views per user
)
# Columns of ItemStatistics.category_values.
CATEGORY_VALUES = (
    "half_life_days",  # learned: with it, decayed purchases tell most about the next one
    "half_life_orders",
    "category_gap_days",
    "category_gap_orders",
    "category_repeat_next",
    "category_share",  # share of orders that hold it
)
LINKS = ("next", "later", "together")
HAZARD_ORDERS = 12  # hazard[item, k]: P(in the next order | last bought k + 1 orders ago); the last column is "or more"


@dataclass(frozen=True, slots=True)
class ItemStatistics:
    """Everything learned about items from purchases at or before `until_us`; I items, C categories, E links.

    Links `next` (bought in the following order), `later` (in any following order, decayed) and `together` (in one
    order, cosine) are rows `<name>_start[i] : <name>_start[i + 1]` of `<name>_item` (targets) and `<name>_value`
    (strength in [0, 1]). `linear[a, b]` is what a decayed purchase of the item at place a adds to the expected
    purchases of the item at place b, where `linear_place[item]` is the place, or -1 for rare items. Nobody can write
    the arrays: what was just learned and what was loaded run the same compiled code.
    """

    items: Ints  # [I] codes, rising
    categories: Ints  # [C] codes, rising
    category_of: NDArray[np.int32]  # [I] row of the category
    item_values: NDArray[np.float32]  # [I, len(ITEM_VALUES)]
    category_values: NDArray[np.float32]  # [C, len(CATEGORY_VALUES)]
    hazard: NDArray[np.float32]  # [I, HAZARD_ORDERS]
    popular: NDArray[np.int32]  # [I] items, most popular now first
    popular_in_start: Ints  # [C + 1]
    popular_in: NDArray[np.int32]  # items of category c at popular_in[start[c] : start[c + 1]], most popular first
    fresh: NDArray[np.int32]  # items first bought lately, most popular first
    next_start: Ints
    next_item: NDArray[np.int32]
    next_value: NDArray[np.float32]
    later_start: Ints
    later_item: NDArray[np.int32]
    later_value: NDArray[np.float32]
    together_start: Ints
    together_item: NDArray[np.int32]
    together_value: NDArray[np.float32]
    linear_place: NDArray[np.int32]  # [I]
    linear: NDArray[np.float32]  # [M, M]
    scalars: NDArray[np.float64]  # until_us, half life of the links in orders, users, orders

    def __post_init__(self) -> None:
        for name in self.__slots__:
            getattr(self, name).setflags(write=False)

    @property
    def until_us(self) -> int:
        """The last moment that was counted, UTC microseconds."""
        return int(self.scalars[0])

    @property
    def half_life_orders(self) -> float:
        """How many orders halve the weight of a purchase as a source of links."""
        return float(self.scalars[1])

    def save(self, folder: Path) -> list[str]:
        """Write one .npy a field into `folder` and return the file names."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{field.name}.npy" for field in fields(self)]
        for name in names:
            np.save(folder / name, getattr(self, name[:-4]), allow_pickle=False)
        return names

    @classmethod
    def load(cls, folder: Path) -> ItemStatistics:
        """Map what `save` wrote (pages are shared); BundleError when a file is missing or no array."""
        arrays = {}
        for field in fields(cls):
            path = folder / f"{field.name}.npy"
            try:
                mapped = np.load(path, mmap_mode="c", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise BundleError(
                    f"{path} cannot be read", got=str(error), expected="an array saved by numpy"
                ) from None
            # A plain view of the same pages: numba and numpy handle ndarray faster than memmap.
            arrays[field.name] = mapped.view(np.ndarray)
        return cls(**arrays)

    def neighbours(self, code: int, most: int = 20) -> list[tuple[int, float]]:
        """Items most often bought in one order with this one: (code, cosine in [0, 1]), the nearest first."""
        place = int(places(self.items, np.array([code]))[0])
        if place < 0:
            return []
        row = slice(int(self.together_start[place]), int(self.together_start[place + 1]))
        items, values = self.together_item[row], self.together_value[row]
        order = np.argsort(-values, kind="stable")[:most]
        return [(int(self.items[items[k]]), float(values[k])) for k in order]


def places(known: Ints, codes: Ints) -> Ints:
    """Where each code stands in the rising `known`, -1 where it does not.

    >>> places(np.array([3, 7]), np.array([7, 5, 3])).tolist()
    [1, -1, 0]
    """
    # Views that nobody can write: one kind of argument, compiled once.
    asked = [np.ascontiguousarray(one, dtype=np.int64)[:] for one in (known, codes)]
    for one in asked:
        one.setflags(write=False)
    found: Ints = _places(*asked)
    return found


@njit(cache=True, nogil=True)
def _places(known, codes):  # type: ignore[no-untyped-def]
    found = np.full(len(codes), -1, np.int64)
    for k in range(len(codes)):
        low, high = 0, len(known)
        while low < high:
            middle = (low + high) // 2
            if known[middle] < codes[k]:
                low = middle + 1
            else:
                high = middle
        if low < len(known) and known[low] == codes[k]:
            found[k] = low
    return found
