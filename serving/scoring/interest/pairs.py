"""The loop behind `featurise`: one pass over a user's lines, one over their items' links, one over the items asked.

Scratch arrays are as wide as the vocabulary and cleaned by what was touched, so an example costs what its history and
its links hold, never what the shop holds.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from serving.scoring.interest.reach import reach, reach_linear, reach_together
from serving.scoring.interest.statistics import HAZARD_ORDERS

__all__ = ["CATEGORY", "LINKED", "OWN", "SEEN", "USER", "fill"]

USER = (
    "user_orders",
    "user_items",  # different items bought: breadth
    "user_basket_mean",  # different items an order
    "user_basket_last",
    "user_repeat_share",  # of the items of later orders: how many had been bought before
    "user_days_since_order",
    "user_order_gap_days",  # mean; NaN with one order
    "user_order_place",  # days since the latest order, over the mean gap
)
OWN = (
    "own_orders",  # orders with this item
    "own_share",  # of all orders
    "own_days_since",
    "own_orders_since",
    "own_first_orders_since",
    "own_decayed_days",  # orders with it, halved every half-life of its category
    "own_decayed_orders",
    "own_last_3",  # of the latest three orders
    "own_gap_days",  # mean between its purchases; NaN with one
    "own_gap_orders",
    "own_place_days",  # days since, over the usual gap: own gaps, and the item's as if they were one more
    "own_place_orders",
    "own_hazard",  # P(in the next order | so many orders ago) of all users
    "own_quantity",  # mean of its lines
)
CATEGORY = (
    "category_orders",
    "category_share_own",
    "category_days_since",
    "category_orders_since",
    "category_decayed_days",
    "category_place_days",
    "category_items",  # different items of the category bought
)
SEEN = ("view_lines", "view_days_since", "cart_days_since", "category_view_lines", "category_view_days_since")
LINKED = (
    "link_next",  # from the items of the latest order to the following order
    "link_later",  # from all earlier items, decayed
    "link_later_rank",  # over the strongest such sum of any item
    "link_together",  # cosine with earlier items, decayed
    "link_together_most",
    "linear",  # expected purchases in the next order
    "linear_rank",
)
_U, _O, _C, _S, _L = 0, 8, 22, 29, 34
_END = 41
_DAY = 86_400_000_000.0


@njit(cache=True, nogil=True)
def fill(out, pairs, lines, tables, links, together, linear, width, half_life):  # type: ignore[no-untyped-def]
    """Write `out`; every argument is a tuple of arrays, see `featurise_pairs`."""
    user_of, as_of_of, pair_start, pair_item, pair_category = pairs
    line_start, item, category, at_us, kind, quantity, order = lines
    item_values, category_values, hazard = tables
    n_items, n_groups = len(item_values), len(category_values)
    longest = 1
    for k in range(len(line_start) - 1):
        longest = max(longest, line_start[k + 1] - line_start[k])
    slot, group_slot = np.full(width, -1, np.int32), np.full(n_groups, -1, np.int32)
    own, group = np.zeros((longest, 13)), np.zeros((longest, 10))
    own_item, own_group = np.zeros(longest, np.int32), np.zeros(longest, np.int32)
    score = np.zeros((4, max(n_items, 1)))
    touched = np.empty((4, max(n_items, 1)), np.int32)
    expected = np.zeros(len(linear[1]))
    out[:] = np.nan
    for e in range(len(user_of)):
        start, stop = line_start[user_of[e]], line_start[user_of[e] + 1]
        as_of = as_of_of[e]
        while stop > start and at_us[stop - 1] > as_of:
            stop -= 1
        # np.int64: what begins as the constant 0 has its callees compiled for that 0 first, and once more for numbers.
        orders = np.int64(0)
        for line in range(start, stop):
            orders = max(orders, order[line] + 1)
        first_us, last_us = 0, 0
        n_own, n_group, marks, again, basket_last = np.int64(0), 0, 0, 0, 0
        for line in range(start, stop):
            days = (as_of - at_us[line]) / _DAY
            i, c, number = item[line], category[line], order[line]
            bought = number >= 0
            if bought:
                if first_us == 0:
                    first_us = at_us[line]
                last_us = at_us[line]
            if c >= 0:
                if group_slot[c] < 0:
                    group_slot[c] = n_group
                    own_group[n_group] = c
                    group[n_group, :] = 0.0
                    group[n_group, 1] = -1.0
                    n_group += 1
                g = group[group_slot[c]]
                if bought:
                    g[2] = at_us[line]
                    if number > g[1]:
                        g[0] += 1.0
                        g[1] = number
                        g[3] += 0.5 ** (days / category_values[c, 0])
                        if g[0] == 1.0:
                            g[4] = at_us[line]
                else:
                    g[5] += 1.0
                    g[6] = at_us[line]
            if i < 0:
                continue
            if slot[i] < 0:
                slot[i] = n_own
                own_item[n_own] = i
                own[n_own, :] = 0.0
                own[n_own, 3] = -1.0
                n_own += 1
            o = own[slot[i]]
            if bought:
                o[11] += quantity[line]
                o[12] += 1.0
                o[4] = at_us[line]
                if number > o[3]:  # the lines of two orders may be mixed: none counts twice
                    ago = orders - number
                    if o[0] == 0.0:
                        o[1], o[2] = at_us[line], number
                        if c >= 0:
                            group[group_slot[c], 7] += 1.0
                    elif number > 0:
                        again += 1
                    o[0] += 1.0
                    o[3] = number
                    half = category_values[c, 0] if c >= 0 else 30.0
                    o[5] += 0.5 ** (days / half)
                    o[6] += 0.5 ** ((ago - 1) / half_life)
                    o[7] += ago <= 3
                    marks += 1
                    basket_last += ago == 1
            elif kind[line] == 2:
                o[10] = at_us[line]
            else:
                o[8] += 1.0
                o[9] = at_us[line]
        bought_items, first_basket = 0, 0
        for k in range(n_own):
            bought_items += own[k, 0] > 0
            first_basket += own[k, 0] > 0 and own[k, 2] == 0.0
        n_next = reach(links[0], own, own_item, n_own, n_items, orders, np.bool_(True), score[0], touched[0])
        n_later = reach(links[1], own, own_item, n_own, n_items, orders, np.bool_(False), score[1], touched[1])
        n_near = reach_together(together, own, own_item, n_own, n_items, score[2], score[3], touched[2])
        reach_linear(linear, own, own_item, n_own, n_items, expected)
        most_later, most_linear = 1e-12, 1e-12
        for k in range(n_later):
            most_later = max(most_later, score[1, touched[1, k]])
        for k in range(len(expected)):
            most_linear = max(most_linear, expected[k])
        for row in range(pair_start[e], pair_start[e + 1]):
            x = out[row]
            i, c = pair_item[row], pair_category[row]
            x[0] = orders
            x[1] = bought_items
            x[5 + 2] = np.nan
            if orders > 0:
                x[2] = marks / orders
                x[3] = basket_last
                x[5] = (as_of - last_us) / _DAY
            if orders > 1:
                x[4] = again / max(marks - first_basket, 1)
                gap = (last_us - first_us) / _DAY / (orders - 1)
                x[6] = gap
                x[7] = x[5] / max(gap, 0.5)
            _own(x, own, slot, i, n_items, orders, as_of, item_values, hazard)
            _category(x, group, group_slot, c, orders, as_of, category_values)
            if 0 <= i < n_items:
                x[34] = score[0, i]
                x[35] = score[1, i]
                x[36] = score[1, i] / most_later
                x[37] = score[2, i]
                x[38] = score[3, i]
                place = linear[0][i]
                if place >= 0:
                    x[39] = expected[place]
                    x[40] = expected[place] / most_linear
                for k in range(item_values.shape[1]):
                    x[_END + k] = item_values[i, k]
        for k in range(n_own):
            slot[own_item[k]] = -1
        for k in range(n_group):
            group_slot[own_group[k]] = -1
        for k in range(n_next):
            score[0, touched[0, k]] = 0.0
        for k in range(n_later):
            score[1, touched[1, k]] = 0.0
        for k in range(n_near):
            score[2, touched[2, k]] = 0.0
            score[3, touched[2, k]] = 0.0


@njit(cache=True)
def _own(x, own, slot, i, n_items, orders, as_of, item_values, hazard):  # type: ignore[no-untyped-def]
    x[8] = x[9] = x[13] = x[14] = x[15] = x[29] = 0.0
    if i < 0 or slot[i] < 0:
        return
    o = own[slot[i]]
    known = i < n_items
    if o[0] > 0:
        x[8] = o[0]
        x[9] = o[0] / orders
        x[10] = (as_of - o[4]) / _DAY
        x[11] = orders - o[3]
        x[12] = orders - o[2]
        x[13], x[14], x[15] = o[5], o[6], o[7]
        span_days, span_orders = (o[4] - o[1]) / _DAY, o[3] - o[2]
        if o[0] > 1:
            x[16] = span_days / (o[0] - 1)
            x[17] = span_orders / (o[0] - 1)
        if known:
            x[18] = x[10] * o[0] / (span_days + item_values[i, 7])
            x[19] = x[11] * o[0] / (span_orders + item_values[i, 8])
            x[20] = hazard[i, min(int(x[11]), HAZARD_ORDERS) - 1]
        x[21] = o[11] / o[12]
    x[29] = o[8]
    if o[9] > 0:
        x[30] = (as_of - o[9]) / _DAY
    if o[10] > 0:
        x[31] = (as_of - o[10]) / _DAY


@njit(cache=True)
def _category(x, group, group_slot, c, orders, as_of, category_values):  # type: ignore[no-untyped-def]
    x[22] = x[23] = x[26] = x[28] = x[32] = 0.0
    if c < 0 or group_slot[c] < 0:
        return
    g = group[group_slot[c]]
    if g[0] > 0:
        x[22] = g[0]
        x[23] = g[0] / orders
        x[24] = (as_of - g[2]) / _DAY
        x[25] = orders - g[1]
        x[26] = g[3]
        x[27] = x[24] * g[0] / ((g[2] - g[4]) / _DAY + category_values[c, 2])
        x[28] = g[7]
    x[32] = g[5]
    if g[6] > 0:
        x[33] = (as_of - g[6]) / _DAY
