"""One user, everything that a decision reads of him, in one question: one state of the store, one round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import online, vectors

__all__ = ["CELLS", "DecisionRow", "read_decision_row"]

CELLS = (online.VECTOR, online.HISTORY, online.PROFILE)

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


def read_decision_row(store: online.OnlineStore, user_id: str, features: int, digest: str) -> DecisionRow:
    """See `features.store.Store.decision_row`."""
    ((vector, history, profile),) = store.read(vectors.entity_keys([user_id]), CELLS)
    if vector is None:
        online.check_publication(store, digest)
        return DecisionRow(np.full(features, np.nan), False, 0, _EMPTY, None)
    return DecisionRow(
        vectors.unpack_one(vector[0], features, digest),
        True,
        vector[1] * _SECOND,
        _EMPTY if history is None else vectors.unpack_history(history[0]),
        None if profile is None else vectors.unpack_json(profile[0]),
    )
