"""Numbers of some rows as Arrow columns of all rows: null where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["INSTANT", "UNAVAILABLE", "instants", "listed", "numbers", "struct", "words"]

INSTANT = pa.timestamp("us", "UTC")
#: The `status_reason` of a user of whom something is stored that nobody can read.
UNAVAILABLE = "FEATURES_UNAVAILABLE"


def numbers(values: NDArray[np.float64], rows: NDArray[np.intp], many: int, fill: float | None = None) -> pa.Array[Any]:
    """``values[k]`` at ``rows[k]``, elsewhere ``fill``, or null; what is NaN is null.

    Examples
    --------
    >>> numbers(np.array([0.5, np.nan]), np.array([2, 0]), 3).to_pylist()
    [None, None, 0.5]
    """
    whole = np.full(many, np.nan if fill is None else fill)
    whole[rows] = values
    return pa.array(whole, pa.float64(), mask=np.isnan(whole))


def instants(values: NDArray[np.float64], rows: NDArray[np.intp], many: int) -> pa.Array[Any]:
    """Microseconds since 1970 (UTC) at ``rows``, null elsewhere and where NaN."""
    whole, absent = np.zeros(many, np.int64), np.ones(many, np.bool_)
    known = ~np.isnan(values)
    whole[rows[known]], absent[rows[known]] = values[known].astype(np.int64), False
    return pa.array(whole, pa.int64(), mask=absent).cast(INSTANT)


def words(choice: NDArray[np.int64], known: Sequence[str]) -> pa.Array[Any]:
    """``known[choice[k]]``, null where it is negative.

    Examples
    --------
    >>> words(np.array([1, -1]), ["a", "b"]).to_pylist()
    ['b', None]
    """
    return pa.array(known, pa.string()).take(pa.array(choice, pa.int64(), mask=choice < 0))


def listed(values: pa.Array[Any], counts: NDArray[np.int64]) -> pa.Array[Any]:
    """The next ``counts[k]`` values as row k."""
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), values)


def struct(columns: Mapping[str, pa.Array[Any]]) -> pa.Array[Any]:
    """One record a row, none of them null."""
    return pa.StructArray.from_arrays(list(columns.values()), list(columns))
