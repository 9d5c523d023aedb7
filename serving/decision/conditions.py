"""Conditions that are plain columns, tested for 10,000 offers at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Labels"]

Mask = NDArray[np.bool_]


class Labels:
    """One column of texts per offer, for example the channels it may use; an empty list means no restriction.

    Examples
    --------
    >>> channels = Labels([["app"], [], ["app", "sms"]])
    >>> channels.allow("sms").tolist(), channels.allow(None).tolist()
    ([False, True, True], [False, True, False])
    """

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        places: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            for text in row:
                places.setdefault(text, []).append(place)
        self._places = {text: np.asarray(found, dtype=np.int64) for text, found in places.items()}
        self._wanted = np.asarray([len(set(row)) for row in rows], dtype=np.int64)
        self._free: Mask = self._wanted == 0
        self._masks: dict[str | None, Mask] = {}
        self.restricts = bool(places)

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that any offer names."""
        return tuple(sorted(self._places))

    def allow(self, value: str | None) -> Mask:
        """Which offers name ``value`` or nothing: bool[n], not to be written to."""
        known = value if value in self._places else None
        mask = self._masks.get(known)
        if mask is None:
            mask = self._free.copy()
            if known is not None:
                mask[self._places[known]] = True
            self._masks[known] = mask
        return mask

    def any_of(self, values: Iterable[str]) -> Mask:
        """Which offers name at least one of ``values``, or nothing: bool[n]."""
        mask = self._free.copy()
        for value in values:
            if value in self._places:
                mask[self._places[value]] = True
        return mask

    def all_of(self, values: Iterable[str]) -> Mask:
        """Which offers name nothing beyond ``values`` (distinct texts): bool[n]."""
        found = np.zeros(len(self._wanted), dtype=np.int64)
        for value in values:
            if value in self._places:
                found[self._places[value]] += 1
        return np.asarray(found == self._wanted)

    def none_of(self, values: Iterable[str]) -> Mask:
        """Which offers name none of ``values``: bool[n]."""
        mask = np.ones(len(self._wanted), dtype=np.bool_)
        for value in values:
            if value in self._places:
                mask[self._places[value]] = False
        return mask

    def naming(self, value: str) -> Mask:
        """Which offers name ``value`` itself: bool[n]."""
        mask = np.zeros(len(self._wanted), dtype=np.bool_)
        if value in self._places:
            mask[self._places[value]] = True
        return mask
