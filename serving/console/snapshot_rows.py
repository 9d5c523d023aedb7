"""One user's row out of snapshot files of features: one row group is read, not the file.

`features.build` writes them in the order of ``user_id``, so that the footer says which group can hold the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.snapshots import DIGEST_KEY

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["ranges", "row_of"]

_KEPT_BYTES = 4_000_000  # a footer above this is of millions of users: read again rather than kept in memory


def row_of(path: Path, user_id: str, names: Sequence[str], digest: str) -> NDArray[np.float64] | None:
    """The user's features in the order of ``names``, float64[f], NaN where absent.

    None when the user is not in the file, the file is not there, or it was built from another catalogue.
    """
    try:
        return _row(path, _state(path), user_id, tuple(names), digest)
    except (OSError, ValueError):
        return None  # a build replaced it, or it is damaged


# A reviewer looks at several scores of one user: the next page needs the same few rows.
@lru_cache(maxsize=64)
def _row(
    path: Path, state: tuple[int, int], user_id: str, names: tuple[str, ...], digest: str
) -> NDArray[np.float64] | None:
    import pyarrow.parquet as pq

    footer = footer_of(path)
    if (footer.metadata or {}).get(DIGEST_KEY, b"").decode() != digest:
        return None
    place = footer.schema.names.index("user_id")
    with pq.ParquetFile(path, metadata=footer) as file:
        for group in range(footer.num_row_groups):
            held = footer.row_group(group).column(place).statistics
            low, high = (held.min, held.max) if held is not None and held.has_min_max else (None, None)
            if low is not None and high is not None and not low <= user_id <= high:
                continue
            ids = file.read_row_group(group, ["user_id"], use_threads=False)["user_id"].to_pylist()
            if user_id in ids:
                row = ids.index(user_id)
                found = file.read_row_group(group, list(names), use_threads=False).slice(row, 1).to_pylist()[0]
                own = np.array([np.nan if found[name] is None else found[name] for name in names], dtype=np.float64)
                own.flags.writeable = False
                return own
    return None


def ranges(path: Path) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each number among all users of a snapshot, as its footer says."""
    try:
        return _ranges(path, *_state(path))
    except OSError:
        return {}


@lru_cache(maxsize=2)
def _ranges(path: Path, changed_ns: int, size: int) -> dict[str, tuple[float, float]]:
    footer, found = footer_of(path), dict[str, tuple[float, float]]()
    for group in range(footer.num_row_groups):
        row_group = footer.row_group(group)
        for place in range(row_group.num_columns):
            column = row_group.column(place)
            held = column.statistics if column.physical_type == "DOUBLE" else None
            if held is not None and held.has_min_max:
                low, high = float(held.min or 0.0), float(held.max or 0.0)
                before = found.get(column.path_in_schema, (low, high))
                found[column.path_in_schema] = min(before[0], low), max(before[1], high)
    return found


def footer_of(path: Path) -> pq.FileMetaData:
    """What the end of the file says of it, read again only after it changed."""
    state = _state(path)
    return _footer(path, *state) if state[1] < 40 * _KEPT_BYTES else _footer.__wrapped__(path, *state)


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=16)
def _footer(path: Path, changed_ns: int, size: int) -> pq.FileMetaData:
    import pyarrow.parquet as pq

    return pq.read_metadata(path)
