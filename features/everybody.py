"""All published users, a part at a time: for whoever scores everybody, without holding everybody in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features import online, vectors

__all__ = ["Part", "everybody"]


@dataclass(frozen=True)
class Part:
    """Some users in the order of their keys; row i of everything is ``user_ids[i]``.

    ``values`` float64[n, features] in catalogue order; ``as_of_us`` int64[n]; ``histories`` flat, in the layout of
    `configs.history`, empty where nothing is known.
    """

    user_ids: list[str]
    values: npt.NDArray[np.float64]
    as_of_us: npt.NDArray[np.int64]
    histories: list[npt.NDArray[np.float64]]


def everybody(reader: online.OnlineReader, features: int, digest: str, size: int = 2000) -> Iterator[Part]:
    """Every published user once, also while another publication goes on: who comes or goes meanwhile may be missed."""
    connection = reader.connection
    start = len(vectors.entity_keys([""])[0])
    after = b""
    while True:
        try:
            rows = connection.execute(_SQL, (after, size)).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise reader.nothing(str(error)) from None
            raise
        if not rows:
            return
        after = rows[-1][0]
        yield Part(
            [row[0][start:].decode() for row in rows],
            vectors.unpack([row[1] for row in rows], features, digest),
            np.array([row[2] for row in rows], np.int64) * 1_000_000,
            [np.empty(0) if row[3] is None else vectors.unpack_list(row[3]) for row in rows],
        )


_SQL = (
    f"SELECT v.entity_key, v.value, v.event_ts, h.value FROM {online.table_of(online.VECTOR_VIEW)} AS v "
    f"LEFT JOIN {online.table_of(online.HISTORY_VIEW)} AS h ON h.entity_key = v.entity_key "
    f"AND h.feature_name = '{online.HISTORY}' "
    f"WHERE v.feature_name = '{online.VECTOR}' AND v.entity_key > ? ORDER BY v.entity_key LIMIT ?"
)
