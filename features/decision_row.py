"""One user, everything that a decision reads of him, in one statement: one state of the store, one round."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import online, vectors

__all__ = ["DecisionRow", "read_decision_row"]

_SECOND = 1_000_000
_EMPTY = np.empty(0)


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """What is published of one user, all of it from one publication's state.

    ``vector`` is float64[features] in catalogue order, NaN where absent; ``as_of_us`` is its instant. ``history`` is
    flat, in the layout of `configs.history`; empty when nothing is known. Of an unknown user ``found`` is False, the
    vector all NaN, ``as_of_us`` 0 and ``profile`` None.
    """

    vector: NDArray[np.float64]
    found: bool
    as_of_us: int
    history: NDArray[np.float64]
    profile: dict[str, Any] | None


def _sql() -> str:
    joins = " ".join(
        f"LEFT JOIN {online.table_of(view)} AS {name} ON {name}.entity_key = asked.entity_key "
        f"AND {name}.feature_name = '{feature}'"
        for name, view, feature in (
            ("v", online.VECTOR_VIEW, online.VECTOR),
            ("h", online.HISTORY_VIEW, online.HISTORY),
            ("p", online.PROFILE_VIEW, online.PROFILE),
        )
    )
    return f"SELECT v.value, v.event_ts, h.value, p.value FROM (SELECT ? AS entity_key) AS asked {joins}"


_SQL = _sql()


def read_decision_row(reader: online.OnlineReader, user_id: str, features: int, digest: str) -> DecisionRow:
    """See `features.store.Store.decision_row`."""
    connection = reader.connection
    try:
        vector, at, history, profile = connection.execute(_SQL, vectors.entity_keys([user_id])).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise reader.nothing(str(error)) from None
        raise
    if vector is None:
        online.check_publication(connection, digest)
        return DecisionRow(np.full(features, np.nan), False, 0, _EMPTY, None)
    return DecisionRow(
        vectors.unpack_one(vector, features, digest),
        True,
        at * _SECOND,
        _EMPTY if history is None else vectors.unpack_list(history),
        None if profile is None else json.loads(vectors.unpack_text(profile)),
    )
