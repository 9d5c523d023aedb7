"""Purchases as marks: one for each user, order and item, however many lines or pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.scoring.interest.lines import Lines

__all__ = ["Marks", "marks_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Marks:
    """Marks sorted by user, order and item; orders are rows 0, 1, .. over all users, pairs are users with items."""

    item: Ints  # [m] row of the item
    order_of_mark: Ints  # [m] row of the order
    order_start: Ints  # [orders + 1] an order's marks
    order_user: Ints  # [orders] row of the user
    order_at_us: Ints  # [orders] its first line
    user_start: Ints  # [users + 1] a user's orders
    user_last_us: Ints  # [users] the latest order, 0 without one
    pair_item: Ints  # [pairs] sorted by user, item
    pair_user: Ints
    pair_start: Ints  # [pairs + 1] rows of pair_order
    pair_order: Ints  # [m] rows of orders, rising within a pair

    @property
    def pair_orders(self) -> Ints:
        """In how many orders each user bought each item."""
        return np.diff(self.pair_start)

    @property
    def is_last_order(self) -> NDArray[np.bool_]:
        """For each order whether it is the latest of its user."""
        last = np.ones(len(self.order_user), np.bool_)
        last[:-1] = self.order_user[1:] != self.order_user[:-1]
        return last


def marks_of(lines: Lines, size: int) -> Marks:
    """Reduce lines to marks of purchases of the items 0 .. size - 1."""
    user = np.repeat(np.arange(len(lines)), np.diff(lines.start))
    kept = np.flatnonzero((lines.order >= 0) & (lines.item >= 0) & (lines.item < size))
    user, order, item, at_us = user[kept], lines.order[kept], lines.item[kept].astype(np.int64), lines.at_us[kept]
    by = np.lexsort((at_us, item, order, user))
    user, order, item, at_us = user[by], order[by], item[by], at_us[by]
    new_order = _changes(user, order)
    first = _changes(user, order, item)
    row = np.cumsum(new_order) - 1
    order_user = user[new_order]
    order_at = np.full(len(order_user), np.iinfo(np.int64).max)
    np.minimum.at(order_at, row, at_us)
    item, row = item[first], row[first]
    users = len(lines)
    last_us = np.zeros(users, np.int64)
    np.maximum.at(last_us, order_user, order_at)
    pairs = np.lexsort((row, item, order_user[row]))
    pair_user, pair_item = order_user[row][pairs], item[pairs]
    new_pair = _changes(pair_user, pair_item)
    return Marks(
        item,
        row,
        np.searchsorted(row, np.arange(len(order_user) + 1)).astype(np.int64),
        order_user,
        order_at,
        np.searchsorted(order_user, np.arange(users + 1)).astype(np.int64),
        last_us,
        pair_item[new_pair],
        pair_user[new_pair],
        np.append(np.flatnonzero(new_pair), len(pairs)).astype(np.int64),
        row[pairs],
    )


def _changes(*columns: Ints) -> NDArray[np.bool_]:
    """Where a sorted table begins a new value."""
    new = np.zeros(len(columns[0]), np.bool_)
    if len(new):
        new[0] = True
        for column in columns:
            new[1:] |= column[1:] != column[:-1]
    return new
