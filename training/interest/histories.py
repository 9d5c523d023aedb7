"""Everybody's purchases, views and carts as flat arrays: the same lines in the same order as the published history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from configs import Config
from configs.history import COLUMNS, HISTORY_LINES, KINDS, PURCHASE, History, code
from features.engine import connect
from features.events import read_events
from features.history import history_lines
from features.periods import upto
from features.tiles import epoch_us

__all__ = ["Bought", "Histories", "read_histories", "us"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Bought:
    """What users bought in a label window: pairs without repetition, by user; ``user`` is a position in ``users``."""

    user: Ints
    code: Ints


@dataclass(frozen=True)
class Histories:
    """u users, n lines, one user after the other, each oldest first.

    ``lines`` holds the columns of `configs.history.History` over all users: user k's are ``start[k] : start[k + 1]``.
    ``names`` gives the ids of items and categories by code.
    """

    users: NDArray[np.object_]
    start: Ints
    lines: History
    item_names: dict[int, str]
    category_names: dict[int, str]

    @property
    def user(self) -> Ints:
        """The position of the user of each line: int64[n]."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.start))

    def ends(self, as_of_us: int) -> Ints:
        """Where each user's lines at or before ``as_of_us`` end: int64[u]."""
        known = np.add.accumulate(np.concatenate([[0], self.lines.at_us <= as_of_us]))
        return np.asarray(self.start[:-1] + known[self.start[1:]] - known[self.start[:-1]], dtype=np.int64)

    def at(self, as_of_us: int, users: Sequence[int] | Ints | None = None, most: int = HISTORY_LINES) -> list[History]:
        """The newest ``most`` lines at or before ``as_of_us`` of each of ``users`` (all): what serving would see."""
        ends = self.ends(as_of_us)
        chosen = range(len(self.users)) if users is None else users
        return [self._slice(max(int(self.start[k]), int(ends[k]) - most), int(ends[k])) for k in chosen]

    def bought(self, column: str, after_us: int, until_us: int) -> Bought:
        """What was bought in ``(after_us, until_us]``; ``column`` is ``item`` or ``category``."""
        lines = self.lines
        codes = getattr(lines, column)
        inside = (lines.at_us > after_us) & (lines.at_us <= until_us) & (lines.kind == PURCHASE) & (codes != 0)
        pairs = np.unique(np.column_stack([self.user[inside], codes[inside]]), axis=0)
        return Bought(pairs[:, 0], pairs[:, 1])

    def categories_of(self, head: str, codes: Ints) -> NDArray[np.object_]:
        """The category of each of ``codes``, items of ``head`` item; None where no line says it.

        Of ``head`` category they are categories already.
        """
        asked = codes.tolist()
        own = [self._category_of.get(code, 0) for code in asked] if head == "item" else asked
        return np.array([self.category_names.get(code) for code in own], dtype=object)

    @cached_property
    def _category_of(self) -> dict[int, int]:
        """By item the category that the newest line naming both says."""
        lines = self.lines
        both = np.flatnonzero((lines.item != 0) & (lines.category != 0))
        newest = both[np.argsort(-lines.at_us[both], kind="stable")]
        items, first = np.unique(lines.item[newest], return_index=True)
        return dict(zip(items.tolist(), lines.category[newest][first].tolist(), strict=True))

    def _slice(self, low: int, high: int) -> History:
        return History(*(getattr(self.lines, name)[low:high] for name in COLUMNS))


def us(instant: datetime) -> int:
    """Microseconds since 1970 in UTC.

    Examples
    --------
    >>> from features.periods import as_utc
    >>> us(as_utc("1970-01-02"))
    86400000000
    """
    return round(instant.timestamp()) * 1_000_000 + instant.microsecond


def read_histories(config: Config, until: datetime) -> Histories:
    """Every line with an item or a category at or before ``until``; a user without any is not among the users."""
    connection = connect(config)
    told = history_lines(upto(read_events(connection, config), until))
    told = told.mutate(at_us=epoch_us(told.event_at), quantity=told.quantity.fill_null(1.0))
    table = connection.to_pyarrow(told.order_by(["user_id", "event_at", "event_id"]).drop("event_id", "event_at"))
    user = _dictionary(table["user_id"])
    users = np.asarray(user.dictionary.to_pylist(), dtype=object)
    position = user.indices.to_numpy()
    item, item_names = _codes(table["item_id"])
    category, category_names = _codes(table["category_id"])
    order, _ = _codes(table["order_id"])
    kinds = pc.index_in(table["event_type"], value_set=pa.array(list(KINDS)))
    kind = np.array(list(KINDS.values()), dtype=np.int8)[np.asarray(kinds)]
    lines = History(
        item, category, table["at_us"].to_numpy(), kind, table["quantity"].to_numpy().astype(np.float64), order
    )
    start = np.searchsorted(position, np.arange(len(users) + 1)).astype(np.int64)
    return Histories(users, start, lines, item_names, category_names)


def _dictionary(column: Any) -> Any:
    return column.combine_chunks().dictionary_encode()


def _codes(column: Any) -> tuple[Ints, dict[int, str]]:
    """The code of each id, 0 for null, and the ids by code."""
    encoded = _dictionary(column)
    ids = encoded.dictionary.to_pylist()
    codes = np.array([0, *(code(one) for one in ids)], dtype=np.int64)
    place = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes[place + 1], dict(zip(codes[1:].tolist(), ids, strict=True))
