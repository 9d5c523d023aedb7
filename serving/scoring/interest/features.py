"""User x item features: one row for each pair, the same numbers in training, serving and the benchmark.

"Days since" looks back from `as_of_us`; "orders since" is 1 for the latest order. NaN where a number does not exist:
an item never bought has no days since its last purchase. Lines after `as_of_us` are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from configs.history import History
from serving.scoring.interest.lines import Lines, lines_of
from serving.scoring.interest.pairs import CATEGORY, LINKED, OWN, SEEN, USER, fill
from serving.scoring.interest.statistics import ITEM_VALUES, ItemStatistics, places

__all__ = ["NAMES", "Pairs", "featurise", "featurise_lines", "featurise_pairs"]

Ints = NDArray[np.int64]

NAMES: tuple[str, ...] = (*USER, *OWN, *CATEGORY, *SEEN, *LINKED, *ITEM_VALUES)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What to describe: e examples (a user at a moment), each with its items.

    Items and categories are rows of the statistics (see `Lines.item`); a category of -1 is unknown.
    """

    user: Ints  # [e] row in `Lines`
    as_of_us: Ints  # [e]
    start: Ints  # [e + 1] example k's items are item[start[k] : start[k + 1]]
    item: NDArray[np.int32]
    category: NDArray[np.int32]


def featurise_pairs(
    statistics: ItemStatistics, lines: Lines, pairs: Pairs, dtype: type[np.floating] = np.float32
) -> NDArray[np.floating]:
    """Describe many examples at once: dtype[len(pairs.item), len(NAMES)]; models learn and serve from float32."""
    out = np.empty((len(pairs.item), len(NAMES)), dtype)
    s = statistics
    fill(
        out,
        (pairs.user, pairs.as_of_us, pairs.start, pairs.item, pairs.category),
        (lines.start, lines.item, lines.category, lines.at_us, lines.kind, lines.quantity, lines.order),
        (s.item_values, s.category_values, s.hazard),
        ((s.next_start, s.next_item, s.next_value), (s.later_start, s.later_item, s.later_value)),
        (s.together_start, s.together_item, s.together_value),
        (s.linear_place, s.linear),
        len(s.items) + len(lines.unknown),
        s.half_life_orders,
    )
    return out


def featurise(
    statistics: ItemStatistics,
    histories: History | Sequence[History],
    as_of_us: int | Ints,
    items: Ints | Sequence[Ints],
    categories: Ints | Sequence[Ints] | None = None,
) -> NDArray[np.float64]:
    """Describe codes: float64[n, len(NAMES)] holding float32 values, the rows of the first user first.

    Parameters
    ----------
    histories
        One user, or many; with many, `items` holds one array of codes for each, `as_of_us` one number or one for each.
    categories
        Category codes of the items, for items the statistics do not know; default: what they know.
    """
    if isinstance(histories, History):
        histories, items = [histories], [np.asarray(items)]
        categories = None if categories is None else [np.asarray(categories)]
    codes = np.concatenate([np.asarray(each, np.int64) for each in items]) if len(items) else np.empty(0, np.int64)
    lines = lines_of(statistics, histories, codes)
    start = np.array([0, *accumulate(map(len, items))], np.int64)
    given = None if categories is None else np.concatenate([np.asarray(each, np.int64) for each in categories])
    return featurise_lines(statistics, lines, np.full(len(histories), as_of_us, np.int64), start, codes, given)


def featurise_lines(
    statistics: ItemStatistics, lines: Lines, as_of_us: Ints, start: Ints, codes: Ints, categories: Ints | None = None
) -> NDArray[np.float64]:
    """`featurise` for lines translated with these codes, of which codes[start[k] : start[k + 1]] are user k's."""
    row = places(statistics.items, codes)
    known = row >= 0
    group = np.where(known, statistics.category_of[row], -1) if len(statistics.items) else np.full(len(codes), -1)
    if categories is not None:
        group = np.where(known, group, places(statistics.categories, categories))
    row = np.where(known, row, np.where(codes == 0, -1, len(statistics.items) + places(lines.unknown, codes)))
    users = np.arange(len(as_of_us))
    pairs = Pairs(users, as_of_us, start, row.astype(np.int32), group.astype(np.int32))
    return np.asarray(featurise_pairs(statistics, lines, pairs), np.float64)
