"""The assortment as a worker of the service holds it: columns by the place of an item, and each store's places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.history import code

__all__ = ["Assortment", "Item", "Shelf"]

ALWAYS_US, NEVER_US = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Item:
    """What is known of one item; None where nobody says it. Money in the shop's currency, ``margin`` a share."""

    item_id: str
    category_id: str | None
    name: str | None
    price: float | None
    margin: float | None
    stock: float | None
    is_slow_moving: bool | None
    valid_from_us: int | None
    valid_to_us: int | None


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one store carries: ``places`` int32[m], ascending, and ``stock`` float64[m] in pieces, NaN where unknown.

    ``stock`` is None when nothing is known of any.
    """

    places: NDArray[np.int32]
    stock: NDArray[np.float64] | None

    @classmethod
    def of(cls, places: bytes, stock: bytes | None) -> Shelf:
        """Read the bytes of a published row without a copy."""
        return cls(np.frombuffer(places, "<i4"), None if stock is None else np.frombuffer(stock, "<f8"))

    def find(self, places: NDArray[np.int32]) -> NDArray[np.intp]:
        """Where each place stands in ``places``, -1 when the store does not carry it."""
        if not len(self.places):
            return np.full(len(places), -1)
        at = np.minimum(np.searchsorted(self.places, places), len(self.places) - 1)
        return np.where(self.places[at] == places, at, -1)


@dataclass(frozen=True)
class Assortment:
    """Every item, in the order of item_id: ``place[item_id]`` is its index in every array.

    ``price`` (currency), ``margin`` (share) and ``stock`` (pieces) are float64[n], NaN where unknown;
    ``is_slow_moving`` int8[n], -1 where unknown; ``valid_from_us`` and ``valid_to_us`` int64[n], `ALWAYS_US` and
    `NEVER_US` where open. ``shelves`` holds the stores of which something is known. ``stamp`` changes with the content.
    """

    stamp: str
    as_of_us: int
    item_ids: tuple[str, ...]
    category_ids: tuple[str | None, ...]
    names: tuple[str | None, ...]
    price: NDArray[np.float64]
    margin: NDArray[np.float64]
    stock: NDArray[np.float64]
    is_slow_moving: NDArray[np.int8]
    valid_from_us: NDArray[np.int64]
    valid_to_us: NDArray[np.int64]
    shelves: dict[str, Shelf]

    @classmethod
    def of(cls, stamp: str, as_of_us: int, rows: Sequence[tuple[Any, ...]], shelves: dict[str, Shelf]) -> Assortment:
        """Build it of rows (place, item_id, category_id, name, price, margin, stock, slow, from, to), places 0..n-1."""
        columns = list(zip(*rows, strict=True)) or [()] * 10
        same: dict[str | None, str | None] = {}
        price, margin, stock = (np.array(column, np.float64) for column in columns[4:7])
        return cls(
            stamp,
            as_of_us,
            columns[1],
            tuple(same.setdefault(category, category) for category in columns[2]),  # one string per category
            columns[3],
            price,
            margin,
            stock,
            np.array([-1 if slow is None else slow for slow in columns[7]], np.int8),
            np.array([ALWAYS_US if us is None else us for us in columns[8]], np.int64),
            np.array([NEVER_US if us is None else us for us in columns[9]], np.int64),
            shelves,
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def place(self) -> dict[str, int]:
        """The index of each item."""
        return {item_id: place for place, item_id in enumerate(self.item_ids)}

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """`configs.history.code` of each item, int64[n]."""
        return np.fromiter(map(code, self.item_ids), np.int64, len(self))

    @cached_property
    def place_of_code(self) -> dict[int, int]:
        """The index of each item by its code."""
        return {number: place for place, number in enumerate(self.codes.tolist())}

    def places(self, item_ids: Sequence[str]) -> NDArray[np.int32]:
        """The place of each item, -1 when it is unknown: int32[len(item_ids)]."""
        return np.fromiter((self.place.get(one, -1) for one in item_ids), np.int32, len(item_ids))

    def item(self, item_id: str) -> Item | None:
        """What is known of an item; None when nobody knows it."""
        place = self.place.get(item_id)
        if place is None:
            return None
        price, margin, stock = (
            None if np.isnan(column[place]) else float(column[place])
            for column in (self.price, self.margin, self.stock)
        )
        slow, start, end = (
            int(column[place]) for column in (self.is_slow_moving, self.valid_from_us, self.valid_to_us)
        )
        return Item(
            item_id,
            self.category_ids[place],
            self.names[place],
            price,
            margin,
            stock,
            None if slow < 0 else bool(slow),
            None if start == ALWAYS_US else start,
            None if end == NEVER_US else end,
        )

    def carried(self, store_id: str, item_ids: Sequence[str]) -> NDArray[np.bool_] | None:
        """Whether the store carries each item, bool[len(item_ids)]; None when nothing is known of the store."""
        shelf = self.shelves.get(store_id)
        return None if shelf is None else shelf.find(self.places(item_ids)) >= 0

    def stock_of(self, item_ids: Sequence[str], store_id: str | None = None) -> NDArray[np.float64]:
        """Pieces of each item in a store, or (None) in all: float64[len(item_ids)], NaN where nobody says it.

        What a store of known stock does not carry it has 0 of.
        """
        places = self.places(item_ids)
        if store_id is None:
            return np.where(places >= 0, np.append(self.stock, np.nan)[places], np.nan)
        shelf = self.shelves.get(store_id)
        if shelf is None or shelf.stock is None:
            return np.full(len(places), np.nan)
        at = shelf.find(places)
        return np.where(at >= 0, np.append(shelf.stock, np.nan)[at], 0.0)
