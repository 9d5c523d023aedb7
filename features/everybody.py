"""All published users, a part at a time: for whoever scores everybody, without holding everybody in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs.errors import FeatureError
from features import online, vectors

__all__ = ["Part", "everybody"]


@dataclass(frozen=True)
class Part:
    """Some users; row i of everything is ``user_ids[i]``.

    ``values`` float64[n, features] in catalogue order; ``as_of_us`` int64[n]; ``histories`` flat, in the layout of
    `configs.history`, empty where nothing is known. ``unreadable`` more are published in a way that nobody can read.
    """

    user_ids: list[str]
    values: npt.NDArray[np.float64]
    as_of_us: npt.NDArray[np.int64]
    histories: list[npt.NDArray[np.float64]]
    unreadable: int = 0


def everybody(store: online.OnlineStore, features: int, digest: str, size: int = 2000) -> Iterator[Part]:
    """Every published user once, also while another publication goes on: who comes or goes meanwhile may be missed.

    Raises
    ------
    FeatureError
        When there are users and none of them can be read.
    """
    start = len(vectors.entity_keys([""])[0])
    anybody, broken = False, None
    for rows in store.scan((online.VECTOR, online.HISTORY), size):
        told: list[tuple[str, bytes, int, npt.NDArray[np.float64]]] = []
        for key, (vector, history) in rows:
            try:
                past = np.empty(0) if history is None else vectors.unpack_history(history[0])
            except FeatureError as error:
                broken = error
                continue
            if vector is not None:
                told.append((key[start:].decode(), *vector, past))
        values = None
        while values is None:
            try:
                values = vectors.unpack([one[1] for one in told], features, digest)
            except FeatureError as error:
                if not error.rows:
                    raise
                broken = error
                told = [one for row, one in enumerate(told) if row not in error.rows]
        anybody = anybody or bool(told)
        at_us = np.array([one[2] for one in told], np.int64) * 1_000_000
        yield Part([one[0] for one in told], values, at_us, [one[3] for one in told], len(rows) - len(told))
    if broken is not None and not anybody:
        raise broken
