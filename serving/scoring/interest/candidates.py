"""Which items are worth a score: the user's own, what they lead to, what sells, what is new.

Sources take turns, so that none can crowd out the others: own items by decayed orders (then views), links from the
latest order, from all orders, items bought together, the user's categories' best sellers, the most popular, the new.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from configs.history import History
from serving.scoring.interest.lines import Lines, lines_of
from serving.scoring.interest.statistics import ItemStatistics, places

__all__ = ["candidates", "candidates_of"]

Ints = NDArray[np.int64]
OWN, NEXT, LATER, TOGETHER, CATEGORY, POPULAR, NEW = range(7)
# How many each source names in one turn: own items are few and best, the new ones are a chance to be seen.
TURN = np.array([4, 2, 2, 1, 1, 2, 1])


def candidates(
    statistics: ItemStatistics,
    history: History,
    as_of_us: int,
    most: int = 200,
    allowed: Ints | None = None,
) -> Ints:
    """Item codes, at most `most`, none twice; all of them in `allowed` (rising codes) when given.

    Only lines at or before `as_of_us` count. With `allowed` the list is filled up from it, also with items nobody has
    bought yet.
    """
    lines = lines_of(statistics, [history])
    mask = np.ones(len(statistics.items), np.bool_)
    if allowed is not None:
        mask[:] = False
        row = places(statistics.items, allowed)
        mask[row[row >= 0]] = True
    _, found = candidates_of(statistics, lines, np.zeros(1, np.int64), np.array([as_of_us]), most, mask)
    codes: Ints = np.concatenate([statistics.items, lines.unknown])[found]
    if allowed is None:
        return codes
    codes = codes[places(allowed, codes) >= 0]
    rest = allowed[~np.isin(allowed, codes)]
    filled: Ints = np.concatenate([codes, rest])[:most]
    return filled


def candidates_of(
    statistics: ItemStatistics,
    lines: Lines,
    user: Ints,
    as_of_us: Ints,
    most: int,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[Ints, NDArray[np.int32]]:
    """Rows for many examples: example k has found[start[k] : start[k + 1]] (see `Lines.item`)."""
    s = statistics
    mask = np.ones(len(s.items), np.bool_) if allowed is None else allowed
    start: Ints
    found: NDArray[np.int32]
    start, found = _gather(
        user,
        as_of_us,
        (lines.start, lines.item, lines.category, lines.at_us, lines.order),
        (
            (s.next_start, s.next_item, s.next_value),
            (s.later_start, s.later_item, s.later_value),
            (s.together_start, s.together_item, s.together_value),
        ),
        (s.popular, s.popular_in_start, s.popular_in, s.fresh),
        mask,
        len(lines.unknown),
        most,
        s.half_life_orders,
        TURN,
    )
    return start, found


@njit(cache=True, nogil=True)
def _gather(user, as_of_us, lines, links, lists, mask, unknown, most, half_life, turn):  # type: ignore[no-untyped-def]
    line_start, item, category, at_us, order = lines
    popular, in_start, popular_in, fresh = lists
    size, groups = len(mask), len(in_start) - 1
    width = size + unknown
    start = np.zeros(len(user) + 1, np.int64)
    found = np.empty(len(user) * most, np.int32)
    weight, latest = np.zeros(width), np.zeros(width, np.bool_)
    score, taken = np.zeros(size), np.zeros(width, np.bool_)
    group_weight = np.zeros(groups)
    ranked = np.empty((7, max(most, 1)), np.int32)
    n = 0
    for e in range(len(user)):
        begin, stop = line_start[user[e]], line_start[user[e] + 1]
        while stop > begin and at_us[stop - 1] > as_of_us[e]:
            stop -= 1
        orders = 0
        for line in range(begin, stop):
            orders = max(orders, order[line] + 1)
        own = np.empty(stop - begin, np.int32)
        n_own, n_group = np.int64(0), 0  # not the constant 0, for which `_linked` would be compiled apart
        own_groups = np.empty(stop - begin, np.int32)
        for line in range(begin, stop):
            i, c = item[line], category[line]
            # A look counts less than the oldest purchase a user is likely to have, and newer looks count more.
            here = 0.5 ** ((orders - 1 - order[line]) / half_life) if order[line] >= 0 else 1e-6 * (line - begin + 1)
            if i >= 0:
                if weight[i] == 0.0:
                    own[n_own] = i
                    n_own += 1
                weight[i] += here + 1e-12
                latest[i] |= order[line] == orders - 1
            if c >= 0:
                if group_weight[c] == 0.0:
                    own_groups[n_group] = c
                    n_group += 1
                group_weight[c] += here + 1e-12
        counts = np.zeros(7, np.int64)
        best = np.argsort(-weight[own[:n_own]], kind="mergesort")
        for k in best:
            if counts[0] < most and (own[k] >= size or mask[own[k]]):
                ranked[0, counts[0]] = own[k]
                counts[0] += 1
        for kind in range(3):
            counts[1 + kind] = _linked(
                links[kind], own, n_own, size, weight, latest, kind == 0, score, mask, ranked[1 + kind]
            )
        ordered = np.argsort(-group_weight[own_groups[:n_group]], kind="mergesort")
        depth = 0
        while counts[4] < most and n_group > 0:
            any_left = False
            for k in ordered:
                c = own_groups[k]
                if in_start[c] + depth < in_start[c + 1]:
                    any_left = True
                    i = popular_in[in_start[c] + depth]
                    if mask[i] and counts[4] < most:
                        ranked[4, counts[4]] = i
                        counts[4] += 1
            depth += 1
            if not any_left:
                break
        for kind, source in ((5, popular), (6, fresh)):
            for i in source:
                if counts[kind] == most:
                    break
                if mask[i]:
                    ranked[kind, counts[kind]] = i
                    counts[kind] += 1
        begin_n, at = n, np.zeros(7, np.int64)
        left = True
        while left and n - begin_n < most:
            left = False
            for kind in range(7):
                named = 0
                while named < turn[kind] and at[kind] < counts[kind] and n - begin_n < most:
                    i = ranked[kind, at[kind]]
                    at[kind] += 1
                    left = True
                    if not taken[i]:
                        taken[i] = True
                        found[n] = i
                        n += 1
                        named += 1
        start[e + 1] = n
        for k in range(begin_n, n):
            taken[found[k]] = False
        for k in range(n_own):
            weight[own[k]] = 0.0
            latest[own[k]] = False
        for k in range(n_group):
            group_weight[own_groups[k]] = 0.0
    return start, found[:n].copy()


@njit(cache=True)
def _linked(link, own, n_own, size, weight, latest, only_latest, score, mask, out):  # type: ignore[no-untyped-def]
    start, target, value = link
    n = 0
    for k in range(n_own):
        if own[k] < size and (not only_latest or latest[own[k]]):
            n += start[own[k] + 1] - start[own[k]]
    touched = np.empty(n, np.int32)
    n = 0
    for k in range(n_own):
        i = own[k]
        if i < size and (not only_latest or latest[i]):
            for at in range(start[i], start[i + 1]):
                j = target[at]
                if score[j] == 0.0:
                    touched[n] = j
                    n += 1
                score[j] += weight[i] * value[at]
    best = np.argsort(-score[touched[:n]], kind="mergesort")
    count = 0
    for k in best:
        if count < len(out) and mask[touched[k]]:
            out[count] = touched[k]
            count += 1
    for k in range(n):
        score[touched[k]] = 0.0
    return count
