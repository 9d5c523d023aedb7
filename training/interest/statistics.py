"""Count what `ItemStatistics` holds, from many users' histories up to one moment.

Only purchases at or before `until_us` count, so a label after it cannot leak. Without dates (sets of items in order)
the targets lie among the same users' orders: count other users, or these users' earlier orders, never the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.history import VIEW, History
from serving.scoring.interest.lines import DAY_US, Lines, lines_of
from serving.scoring.interest.statistics import HAZARD_ORDERS, ItemStatistics, places
from training.interest import links, repeats
from training.interest.marks import Marks, marks_of

__all__ = ["Vocabulary", "item_statistics", "vocabulary_of"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Vocabulary:
    """The rows of the statistics: rising codes of items and categories, and each item's latest category."""

    items: Ints
    categories: Ints
    category_of: NDArray[np.int32]


def vocabulary_of(histories: Sequence[History], until_us: int | None = None) -> Vocabulary:
    """Every item that was bought, seen or put into a cart at or before `until_us`; category 0 stands for null."""
    item, category, at_us = (
        np.concatenate([getattr(one, name) for one in histories]) if histories else np.empty(0, np.int64)
        for name in ("item", "category", "at_us")
    )
    kept = (item != 0) if until_us is None else (item != 0) & (at_us <= until_us)
    item, category, at_us = item[kept], category[kept], at_us[kept]
    items = np.unique(item).astype(np.int64)
    categories = np.unique(np.append(category, 0)).astype(np.int64)
    order = np.lexsort((at_us, category != 0))  # the latest line with a category speaks last
    latest = np.zeros(len(items), np.int64)
    latest[places(items, item[order])] = category[order]
    return Vocabulary(items, categories, places(categories, latest).astype(np.int32))


def item_statistics(
    histories: Sequence[History],
    until_us: int,
    *,
    vocabulary: Vocabulary | None = None,
    own_clock: bool = False,
    links_most: int = 128,
    linear_most: int = 2000,
    seed: int = 0,
) -> ItemStatistics:
    """Count items, gaps, half-lives and links of all lines at or before `until_us`.

    Parameters
    ----------
    vocabulary
        Rows to use, so that several statistics agree on them; default: what the histories hold.
    own_clock
        Age of a purchase from its user's latest order instead of `until_us`, for sets of items without dates.
    links_most
        Targets kept for each item and kind of link, the strongest first.
    linear_most
        How many of the most frequent items the linear model of the next order covers; 0 leaves it out.
    """
    known = vocabulary or vocabulary_of(histories, until_us)
    size, groups = len(known.items), len(known.categories)
    lines = lines_of(_empty(known), histories)
    lines = _until(lines, until_us, size)
    marks = marks_of(lines, size)
    users, orders = len(lines), len(marks.order_start) - 1
    ends = marks.user_last_us[marks.order_user] if own_clock else np.full(orders, until_us, np.int64)
    age = (ends - marks.order_at_us) / DAY_US
    now, before, short_days, long_days = _popularity(marks, age, size)
    gaps = repeats.gaps_of(marks, size)
    item_gaps = repeats.usual_gaps(gaps, known.category_of, groups)
    hazard, repeat_next, category_repeat = repeats.hazard_of(marks, known.category_of, groups, size)
    half_days, half_orders, global_orders = repeats.half_lives(marks, known.category_of, groups, seed)
    buyers = np.bincount(marks.pair_item, minlength=size)
    again = np.bincount(marks.pair_item[marks.pair_orders > 1], minlength=size)
    rate = again.sum() / max(buyers.sum(), 1)
    in_orders = np.bincount(marks.item, minlength=size)
    basket = np.diff(marks.order_start)[marks.order_of_mark]
    item_age = np.zeros(size)
    np.maximum.at(item_age, marks.item, age[marks.order_of_mark])
    latest = marks.item[marks.is_last_order[marks.order_of_mark]]
    views = np.bincount(lines.item[(lines.kind == VIEW) & (lines.item >= 0)], minlength=size)
    item_values = np.column_stack(
        [
            now,
            before,
            np.bincount(latest, minlength=size) / max(users, 1),
            buyers / max(users, 1),
            (np.bincount(marks.item, basket, size) + basket.mean() if orders else np.zeros(size)) / (in_orders + 1),
            (again + 5 * rate) / (buyers + 5),
            repeat_next,
            item_gaps.item_days,
            item_gaps.item_orders,
            item_age,
            views / max(users, 1),
        ]
    )
    in_category = np.bincount(known.category_of[marks.item] if size else marks.item, minlength=groups) / max(orders, 1)
    category_values = np.column_stack(
        [half_days, half_orders, item_gaps.category_days, item_gaps.category_orders, category_repeat, in_category]
    )
    popular = np.argsort(-now, kind="stable").astype(np.int32)
    by_category = popular[np.argsort(known.category_of[popular], kind="stable")]
    starts = np.zeros(groups + 1, np.int64)
    np.cumsum(np.bincount(known.category_of, minlength=groups), out=starts[1:])
    recent = popular[(item_age[popular] <= short_days) & (in_orders[popular] > 0)]
    weight = 0.5 ** (age / long_days)
    tables = links.links_of(marks, size, weight, global_orders, links_most)
    place, linear = links.linear_of(marks, size, weight, global_orders, linear_most, seed)
    return ItemStatistics(
        known.items,
        known.categories,
        known.category_of,
        np.ascontiguousarray(item_values, np.float32),
        np.ascontiguousarray(category_values, np.float32),
        hazard,
        popular,
        starts,
        by_category,
        recent,
        *tables["next"],
        *tables["later"],
        *tables["together"],
        place,
        linear,
        np.array([until_us, global_orders, users, orders, short_days, long_days], np.float64),
    )


def _popularity(marks: Marks, age: Floats, size: int) -> tuple[Floats, Floats, float, float]:
    """Decayed orders with each item per decayed order, under the half-life that best foretells the newest orders."""
    if not len(age):
        return np.zeros(size), np.zeros(size), 1.0, 4.0
    span = max(float(age.max()), 1.0)
    newest = age <= np.quantile(age, 0.1)
    test = np.bincount(marks.item[newest[marks.order_of_mark]], minlength=size)
    best, best_days = -np.inf, span
    for days in span / 2.0 ** np.arange(0, 7):
        held = np.bincount(marks.item, (0.5 ** (age / days) * ~newest)[marks.order_of_mark], size) + 1e-9
        found = float(test @ np.log(held / held.sum() + 1e-2 / max(size, 1)))
        if found > best:
            best, best_days = found, float(days)

    def decayed(days: float) -> Floats:
        weight = 0.5 ** (age / days)
        return np.asarray(np.bincount(marks.item, weight[marks.order_of_mark], size) / weight.sum())

    return decayed(best_days), decayed(4 * best_days), best_days, 4 * best_days


def _until(lines: Lines, until_us: int, size: int) -> Lines:
    kept = (lines.at_us <= until_us) & (lines.item < size) & (lines.item >= 0)
    start = np.concatenate([[0], np.cumsum(kept)])[lines.start]
    return Lines(
        start,
        lines.item[kept],
        lines.category[kept],
        lines.at_us[kept],
        lines.kind[kept],
        lines.quantity[kept],
        lines.order[kept],
        lines.unknown,
    )


def _empty(known: Vocabulary) -> ItemStatistics:
    """Statistics without a purchase: enough to translate histories."""
    size, groups = len(known.items), len(known.categories)
    starts, none, table = np.zeros(size + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32)
    return ItemStatistics(
        known.items, known.categories, known.category_of, np.zeros((size, 11), np.float32),
        np.zeros((groups, 6), np.float32), np.zeros((size, HAZARD_ORDERS), np.float32), none,
        np.zeros(groups + 1, np.int64), none, none, starts, none, table, starts, none, table, starts, none, table,
        np.full(size, -1, np.int32), np.zeros((0, 0), np.float32), np.array([0.0, 4.0, 0.0, 0.0]),
    )  # fmt: skip
