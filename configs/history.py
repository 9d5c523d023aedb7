"""What one user bought, looked at and put into the cart, line by line: one layout for table, online store and models.

A line is six numbers, so that a history travels as one flat array of float64: through Parquet, Feast's Array(Float64),
the decision log and into a model, without a dictionary of ids. Every column is exact in a float64: codes have 52 bits,
microseconds since 1970 stay below 2**53 until the year 2255.

    item      `code` of item_id, 0 when null          order     `code` of order_id, 0 when null
    category  `code` of category_id, 0 when null      kind      PURCHASE, VIEW or CART
    at_us     UTC, microseconds since 1970            quantity  as the event says (null counts as 1)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

HISTORY_LINES = 256  # the newest are kept
COLUMNS = ("item", "category", "at_us", "kind", "quantity", "order")
WIDTH = len(COLUMNS)
PURCHASE, VIEW, CART = 0, 1, 2
KINDS = {"purchase": PURCHASE, "view": VIEW, "cart": CART}  # event_type of the event catalogue


@lru_cache(maxsize=1 << 16)
def code(text: str | None) -> int:
    """Return the same number in [1, 2**52) for the same text, in every process and release; 0 for null and "".

    Two of a million ids share a code with probability 0.0001; they would be one item to a model.

    >>> code("85123A"), code("85123A") == code("85123a"), code(""), code(None)
    (3324485808245865, False, 0, 0)
    """
    if not text:
        return 0
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 12 or 1


@dataclass(frozen=True, slots=True)
class History:
    """One user's lines, oldest first; lines of one instant keep their order. All arrays have the same length n.

    Nobody can write them: code is compiled for arrays of one kind, and for seconds again for the other kind.
    """

    item: NDArray[np.int64]
    category: NDArray[np.int64]
    at_us: NDArray[np.int64]
    kind: NDArray[np.int8]
    quantity: NDArray[np.float64]
    order: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in COLUMNS:
            getattr(self, name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.at_us)

    @classmethod
    def of(cls, lines: Iterable[tuple[int, int, int, int, float, int]]) -> History:
        """Build a history of lines (item, category, at_us, kind, quantity, order), in any order of time.

        >>> History.of([(7, 0, 20, VIEW, 1.0, 0), (8, 3, 10, PURCHASE, 2.0, 5)]).item
        array([8, 7])
        """
        rows = sorted(lines, key=lambda line: line[2])[-HISTORY_LINES:]
        return unpack(np.asarray(rows, np.float64).reshape(-1))


def pack(history: History) -> NDArray[np.float64]:
    """Lay the lines out one after the other: float64 [n * WIDTH].

    >>> pack(History.of([(7, 3, 10, CART, 2.0, 0)])).tolist()
    [7.0, 3.0, 10.0, 2.0, 2.0, 0.0]
    """
    flat = np.empty((len(history), WIDTH), np.float64)
    for place, name in enumerate(COLUMNS):
        flat[:, place] = getattr(history, name)
    return flat.reshape(-1)


def unpack(flat: NDArray[np.float64]) -> History:
    """Read what `pack` laid out; ValueError when the length is no multiple of WIDTH.

    >>> len(unpack(np.empty(0)))
    0
    """
    item, category, at_us, kind, quantity, order = np.asarray(flat, np.float64).reshape(-1, WIDTH).T
    whole = np.int64
    return History(
        item.astype(whole),
        category.astype(whole),
        at_us.astype(whole),
        kind.astype(np.int8),
        np.ascontiguousarray(quantity),
        order.astype(whole),
    )


def merge(history: History, fresh: History) -> History:
    """Put fresh lines where their time puts them, after older lines of the same instant; keep the newest HISTORY_LINES.

    Nothing is compared: a line that is in both is there twice, so hand in only what came after the history's as_of.

    >>> old = History.of([(1, 0, 10, VIEW, 1.0, 0)])
    >>> merge(old, History.of([(2, 0, 9, VIEW, 1.0, 0), (3, 0, 10, VIEW, 1.0, 0)])).item
    array([2, 1, 3])
    """
    if not len(fresh):
        return history
    at_us = np.concatenate([history.at_us, fresh.at_us])
    kept = np.argsort(at_us, kind="stable")[-HISTORY_LINES:]
    return History(*(np.concatenate([getattr(history, name), getattr(fresh, name)])[kept] for name in COLUMNS))
