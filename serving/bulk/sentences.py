"""The sentences of many reasons at once: each that is written differently is put together once.

A sentence depends on values only as far as they are written ("23 days", "37%"), so rows whose values are rounded alike
share one. Rounding to tenths and hundredths is Python's, decimal; what lies near the middle between two is not rounded
here but told apart by its bits, so that every text is the one of `serving.reasons`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.reasons import Reasons

__all__ = ["Sentences"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_KEPT = 200_000  # sentences; beyond, all are forgotten: amounts of money are endless
_ABSENT = np.iinfo(np.int64).min
_LARGE = 1e9  # numbers above are told apart by their bits


class Sentences:
    """The sentences of ``features`` in one language; threads may share it."""

    def __init__(self, reasons: Reasons, features: Sequence[str], lang: str) -> None:
        self._reasons, self._features, self._lang = reasons, tuple(features), lang
        self._reads = [reasons.reads(feature, lang) for feature in self._features]
        self._known: dict[tuple[int, ...], str] = {}

    def texts(self, feature: Ints, row: Ints, column: Callable[[str], Floats | None]) -> pa.Array[Any]:
        """The sentence of ``features[feature[k]]`` for row ``row[k]`` of the columns, for each k.

        ``column`` gives the values of a feature for all rows, NaN where absent; None where nobody knows them.
        """
        written, place = self.written(feature, row, column)
        return pa.array(written, pa.string()).take(pa.array(place, pa.int32()))

    def written(
        self, feature: Ints, row: Ints, column: Callable[[str], Floats | None]
    ) -> tuple[list[str], NDArray[np.int32]]:
        """The sentences of `texts`, and which of them each k has."""
        if len(self._known) > _KEPT:
            self._known = {}
        order = np.argsort(feature, kind="stable")
        place = np.empty(len(feature), np.int32)
        written: list[str] = []
        sorted_features = feature[order]
        bounds = [*np.flatnonzero(np.diff(sorted_features, prepend=-1)).tolist(), len(feature)]
        for begin, end in pairwise(bounds):
            here = order[begin:end]
            own, inverse = self._of_one(int(sorted_features[begin]), row[here], column)
            place[here] = inverse + len(written)
            written += own
        return written, place

    def _of_one(
        self, feature: int, rows: Ints, column: Callable[[str], Floats | None]
    ) -> tuple[list[str], NDArray[np.int32]]:
        """The different sentences of one feature, and which of them each row has."""
        values: dict[str, Floats] = {}
        keys: list[Ints] = []
        for name, unit in self._reads[feature]:
            if name not in values:
                whole = column(name)
                values[name] = np.full(len(rows), np.nan) if whole is None else whole[rows]
            keys.append(_rounded(values[name], unit))
        inverse = np.zeros(len(rows), np.int64)
        for key in keys:
            different, which = np.unique(key, return_inverse=True)
            inverse = inverse * len(different) + which
            if len(keys) > 1:
                inverse = np.unique(inverse, return_inverse=True)[1]  # stays far from the end of int64
        _, first, inverse = np.unique(inverse, return_index=True, return_inverse=True)
        written = []
        for one in first.tolist():
            key_of = (feature, *(int(key[one]) for key in keys))
            text = self._known.get(key_of)
            if text is None:
                text = self._known[key_of] = self._text(feature, values, one)
            written.append(text)
        return written, inverse.astype(np.int32)

    def _text(self, feature: int, values: dict[str, Floats], row: int) -> str:
        def value(name: str) -> float | None:
            number = float(values[name][row]) if name in values else np.nan
            return None if number != number else number

        return self._reasons.text(self._features[feature], self._lang, value)


def _rounded(values: Floats, unit: str | None) -> Ints:
    """Equal only for values that are written alike (see `serving.reasons.write_number`); None: a count."""
    if unit == "rate":
        values = 30 * values
    with np.errstate(invalid="ignore", over="ignore"):
        if unit in ("currency", "nats", "index"):
            scaled, decimal = 100 * values, np.ones(len(values), np.bool_)
            tag = np.zeros(len(values), np.int64)
        elif unit == "share":
            scaled, decimal = 100 * values, np.zeros(len(values), np.bool_)
            tag = np.zeros(len(values), np.int64)
        else:
            decimal = np.abs(values) < 9.95
            scaled = np.where(decimal, 10 * values, values)
            tag = decimal.astype(np.int64)
            if unit == "days":
                tag[(values >= 0) & (values < 0.95)] = 2
        middle = decimal & (np.abs(scaled - np.floor(scaled) - 0.5) < 1e-6)
        apart = middle | ~(np.abs(scaled) < _LARGE)
        key = 4 * np.rint(np.where(apart, 0.0, scaled)).astype(np.int64) + tag
    key = np.where(apart, np.ascontiguousarray(values).view(np.int64), key)
    return np.where(np.isnan(values), _ABSENT, key)
