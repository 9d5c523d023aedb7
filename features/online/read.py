"""Published vectors as a matrix: in the order asked, NaN where absent, refused where they are another catalogue's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs.errors import FeatureError
from features import vectors
from features.online.contract import VECTOR, OnlineStore, Writer

__all__ = ["OnlineVectors", "check_publication", "read_vectors"]


@dataclass(frozen=True)
class OnlineVectors:
    """What is published about some users: ``values[i]`` in catalogue order, NaN where absent.

    A user of whom nothing is published has ``found`` False, a row of NaN and ``as_of`` NaT.
    """

    values: npt.NDArray[np.float64]
    found: npt.NDArray[np.bool_]
    as_of: npt.NDArray[np.datetime64]


def read_vectors(store: OnlineStore, user_ids: Sequence[str], features: int, digest: str) -> OnlineVectors:
    """The vectors of ``user_ids``, in their order; `FeatureError.rows` says whose alone cannot be read."""
    cells = [row[0] for row in store.read(vectors.entity_keys(user_ids), (VECTOR,))]
    there = [cell for cell in cells if cell is not None]
    try:
        values = vectors.unpack([cell[0] for cell in there], features, digest)
    except FeatureError as error:
        places = [place for place, cell in enumerate(cells) if cell is not None]
        error.rows = tuple(places[row] for row in error.rows)
        raise
    as_of = np.array([cell[1] for cell in there], dtype="datetime64[s]").astype("datetime64[us]")
    found = np.ones(len(cells), dtype=np.bool_)
    if len(there) == len(cells):
        return OnlineVectors(values, found, as_of)
    # Not there means unknown, unless what is there belongs to another catalogue.
    check_publication(store, digest)
    found[:] = [cell is not None for cell in cells]
    every = OnlineVectors(np.full((len(cells), features), np.nan), found, np.full(len(cells), "NaT", "datetime64[us]"))
    every.values[found], every.as_of[found] = values, as_of
    return every


def check_publication(store: OnlineStore | Writer, digest: str) -> None:
    """Refuse when the vectors were published last from another catalogue."""
    last = store.last_publication(VECTOR.view)
    if last is not None and last["digest"] != digest:
        raise vectors.mismatch(str(last["digest"]), digest)
