"""Many users' lines side by side, and what is told of each pair of a user and a category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from configs.history import WIDTH, History
from serving.bulk.columns import numbers

__all__ = ["Lines", "cut", "need_of", "readable"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PAIRS = 4096  # of user and category, scored at a time


@dataclass(frozen=True)
class Lines:
    """Many users' lines, those of user k at ``start[k] : start[k + 1]``, and the instant at which each is asked."""

    whole: History
    start: Ints
    as_of_us: Ints

    def part(self, begin: int, end: int) -> Lines:
        """Those of users ``begin`` to ``end``."""
        inside = slice(int(self.start[begin]), int(self.start[end]))
        whole = History(*(getattr(self.whole, name)[inside] for name in History.__slots__))
        return Lines(whole, self.start[begin : end + 1] - inside.start, self.as_of_us[begin:end])


def readable(histories: Any) -> tuple[Floats, Ints, NDArray[np.bool_]]:
    """The numbers of all histories, how many are each user's, and whose are no history: those have none here.

    One of another length would move the lines of everybody after it.
    """
    lengths = histories.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = histories.flatten().to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    unreadable, finite = lengths % WIDTH != 0, np.isfinite(flat)
    if unreadable.any() or not finite.all():
        user = np.repeat(np.arange(len(lengths)), lengths)
        unreadable[user[~finite]] = True
        flat, lengths = flat[~unreadable[user]], np.where(unreadable, 0, lengths)
    return flat, lengths, unreadable


def need_of(need: Floats, rows: NDArray[np.intp], many: int) -> pa.Array[Any]:
    """``struct<days_since, usual_days, satisfied>`` of each pair, at ``rows`` of ``many``; null where never bought."""
    since, usual, window = need
    known = ~np.isnan(usual)
    absent = np.ones(many, np.bool_)
    absent[rows[known]] = False
    satisfied = np.zeros(many, np.bool_)
    satisfied[rows] = since < window
    fields = {"days_since": numbers(since, rows, many), "usual_days": numbers(usual, rows, many)}
    arrays = [*fields.values(), pa.array(satisfied, pa.bool_(), mask=absent)]
    return pa.StructArray.from_arrays(arrays, [*fields, "satisfied"], mask=pa.array(absent))


def cut(pairs: Ints) -> list[tuple[int, int]]:
    """Users in stretches of about so many pairs; at least one stretch."""
    stretches: list[tuple[int, int]] = []
    begin, many = 0, len(pairs) - 1
    while begin < many or not stretches:
        end = max(begin + 1, int(np.searchsorted(pairs, pairs[begin] + PAIRS, "right")) - 1)
        end = min(end, many)
        stretches.append((begin, end))
        begin = end
    return stretches
