"""The published assortment as a decision looks things up in it: by id, without building a dictionary of the shop."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shelves", "Shop"]

_V = TypeVar("_V")
_NOT_MADE = object()


class Shelves(Protocol):
    """The published assortment (``features.shelf.Assortment``)."""

    stamp: str
    item_ids: tuple[str, ...]
    category_ids: tuple[str | None, ...]
    place: dict[str, int]
    stock: NDArray[np.float64]
    shelves: Mapping[str, Any]

    def item(self, item_id: str) -> Any:
        """What is known of an item, or None."""


class _ById(Mapping[str, _V], Generic[_V]):
    """A value for each item, made when it is first asked for."""

    def __init__(self, place: Mapping[str, int], value: Callable[[int], _V]) -> None:
        self._place, self._value = place, value
        self._made: dict[str, _V] = {}

    def __getitem__(self, item_id: str) -> _V:
        made: Any = self._made.get(item_id, _NOT_MADE)
        if made is _NOT_MADE:
            made = self._made[item_id] = self._value(self._place[item_id])
        return made  # type: ignore[no-any-return]

    # The one of Mapping raises and catches for every unknown id.
    def get(self, item_id: object, default: Any = None) -> Any:
        """The value of an item, ``default`` for an unknown one."""
        made: Any = self._made.get(item_id, _NOT_MADE)  # type: ignore[call-overload]
        if made is not _NOT_MADE:
            return made
        return self[str(item_id)] if item_id in self._place else default

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._place

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


class _Carried(Collection[str]):
    """The items of one store."""

    def __init__(self, shelves: Shelves, shelf: Any) -> None:
        self._shelves, self._shelf = shelves, shelf

    def __contains__(self, item_id: object) -> bool:
        place = self._shelves.place.get(str(item_id), -1)
        places = self._shelf.places
        at = int(np.searchsorted(places, place))
        return place >= 0 and at < len(places) and int(places[at]) == place

    def __iter__(self) -> Iterator[str]:
        return (self._shelves.item_ids[place] for place in self._shelf.places.tolist())

    def __len__(self) -> int:
        return len(self._shelf.places)


class Shop:
    """One publication's assortment; ``items`` holds what is known of each: category_id, price, margin, ..."""

    def __init__(self, shelves: Shelves) -> None:
        self.shelves = shelves
        self.items: Mapping[str, Mapping[str, Any]] = _ById(shelves.place, self._facts)
        self._everywhere = _ById(shelves.place, lambda place: _pieces(shelves.stock[place]))
        self._stocks: dict[str, Mapping[str, float | None]] = {}
        self._carried: dict[str, tuple[Collection[str], Collection[str]]] = {}

    def category_of(self, item_id: str | None) -> str | None:
        """The category of an item, None where nobody says it."""
        place = self.shelves.place.get(item_id or "")
        return None if place is None else self.shelves.category_ids[place]

    def stock(self, store_id: str | None) -> Mapping[str, float | None]:
        """Pieces per item_id, in a store that counts its own or in all; None where nobody says it."""
        shelf = None if store_id is None else self.shelves.shelves.get(store_id)
        if store_id is None or shelf is None or shelf.stock is None:
            return self._everywhere
        if store_id not in self._stocks:
            places, stock = shelf.places, shelf.stock

            def here(place: int) -> float | None:
                at = int(np.searchsorted(places, place))
                carried = at < len(places) and int(places[at]) == place
                return _pieces(stock[at]) if carried else 0.0

            self._stocks[store_id] = _ById(self.shelves.place, here)
        return self._stocks[store_id]

    def carried(self, store_id: str | None) -> tuple[Collection[str], Collection[str]] | None:
        """The items and categories that a store sells; None where nothing is known of the store."""
        shelf = None if store_id is None else self.shelves.shelves.get(store_id)
        if store_id is None or shelf is None:
            return None
        if store_id not in self._carried:
            found = {self.shelves.category_ids[place] for place in shelf.places.tolist()}
            categories = frozenset(category for category in found if category is not None)
            self._carried[store_id] = _Carried(self.shelves, shelf), categories
        return self._carried[store_id]

    def _facts(self, place: int) -> Mapping[str, Any]:
        item = self.shelves.item(self.shelves.item_ids[place])
        names = ("category_id", "price", "margin", "is_slow_moving", "valid_from_us", "valid_to_us")
        return {name: value for name in names if (value := getattr(item, name)) is not None}


def _pieces(stock: float) -> float | None:
    return None if math.isnan(stock) else float(stock)
