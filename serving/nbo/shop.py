"""The published assortment as a decision looks things up in it: by id, without building a dictionary of the shop."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shelves", "Shop"]

_V = TypeVar("_V")


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
    """A value for each item, made when it is asked for."""

    def __init__(self, place: Mapping[str, int], value: Callable[[str], _V]) -> None:
        self._place, self._value = place, value

    def __getitem__(self, item_id: str) -> _V:
        if item_id not in self._place:
            raise KeyError(item_id)
        return self._value(item_id)

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


@dataclass(frozen=True)
class Shop:
    """One publication's assortment."""

    shelves: Shelves
    _categories: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @property
    def items(self) -> Mapping[str, Mapping[str, Any]]:
        """Facts per item_id: category_id, price, margin, is_slow_moving, valid_from_us, valid_to_us, where known."""
        return _ById(self.shelves.place, self._facts)

    def category_of(self, item_id: str | None) -> str | None:
        """The category of an item, None where nobody says it."""
        place = self.shelves.place.get(item_id or "")
        return None if place is None else self.shelves.category_ids[place]

    def stock(self, store_id: str | None) -> Mapping[str, float | None]:
        """Pieces per item_id, in a store that counts its own or in all; None where nobody says it."""
        shelf = None if store_id is None else self.shelves.shelves.get(store_id)
        if shelf is None or shelf.stock is None:
            place, everywhere = self.shelves.place, self.shelves.stock
            return _ById(place, lambda item_id: _pieces(everywhere[place[item_id]]))
        places, stock = shelf.places, shelf.stock

        def here(item_id: str) -> float | None:
            at = int(np.searchsorted(places, self.shelves.place[item_id]))
            carried = at < len(places) and int(places[at]) == self.shelves.place[item_id]
            return _pieces(stock[at]) if carried else 0.0

        return _ById(self.shelves.place, here)

    def carried(self, store_id: str | None) -> tuple[Collection[str], Collection[str]] | None:
        """The items and categories that a store sells; None where nothing is known of the store."""
        shelf = None if store_id is None else self.shelves.shelves.get(store_id)
        if store_id is None or shelf is None:
            return None
        if store_id not in self._categories:
            found = {self.shelves.category_ids[place] for place in shelf.places.tolist()}
            self._categories[store_id] = frozenset(category for category in found if category is not None)
        return _Carried(self.shelves, shelf), self._categories[store_id]

    def _facts(self, item_id: str) -> Mapping[str, Any]:
        item = self.shelves.item(item_id)
        names = ("category_id", "price", "margin", "is_slow_moving", "valid_from_us", "valid_to_us")
        return {name: value for name in names if (value := getattr(item, name)) is not None}


def _pieces(stock: float) -> float | None:
    return None if math.isnan(stock) else float(stock)
