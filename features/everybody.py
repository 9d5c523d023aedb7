"""All published users, a part at a time: for whoever scores everybody, without holding everybody in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features import online, vectors

__all__ = ["Part", "everybody"]


@dataclass(frozen=True)
class Part:
    """Some users; row i of everything is ``user_ids[i]``.

    ``values`` float64[n, features] in catalogue order; ``as_of_us`` int64[n]; ``histories`` flat, in the layout of
    `configs.history`, empty where nothing is known.
    """

    user_ids: list[str]
    values: npt.NDArray[np.float64]
    as_of_us: npt.NDArray[np.int64]
    histories: list[npt.NDArray[np.float64]]


def everybody(store: online.OnlineStore, features: int, digest: str, size: int = 2000) -> Iterator[Part]:
    """Every published user once, also while another publication goes on: who comes or goes meanwhile may be missed."""
    start = len(vectors.entity_keys([""])[0])
    for rows in store.scan((online.VECTOR, online.HISTORY), size):
        found = [row[0] for _, row in rows if row[0] is not None]
        yield Part(
            [key[start:].decode() for key, _ in rows],
            vectors.unpack([value for value, _ in found], features, digest),
            np.array([at for _, at in found], np.int64) * 1_000_000,
            [np.empty(0) if row[1] is None else vectors.unpack_list(row[1][0]) for _, row in rows],
        )
