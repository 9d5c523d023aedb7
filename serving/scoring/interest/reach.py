"""Follow the links of a user's items: add up what each reaches."""

from __future__ import annotations

from numba import njit

__all__ = ["reach", "reach_linear", "reach_together"]

# own[k] of the k-th of a user's items: 0 orders with it, 3 number of the latest, 6 decayed orders (see pairs.fill).


@njit(cache=True)
def reach(links, own, own_item, n_own, n_items, orders, latest, score, touched):  # type: ignore[no-untyped-def]
    """Mean strength over the latest order's items (`latest`) or all by decayed orders; returns how many it touched."""
    start, target, value = links
    total, n = 0.0, 0
    for k in range(n_own):
        if own[k, 0] > 0 and (not latest or own[k, 3] == orders - 1):
            total += 1.0 if latest else own[k, 6]
    for k in range(n_own):
        i = own_item[k]
        if own[k, 0] == 0 or i >= n_items or (latest and own[k, 3] != orders - 1):
            continue
        weight = (1.0 if latest else own[k, 6]) / total
        for at in range(start[i], start[i + 1]):
            j = target[at]
            if score[j] == 0.0:
                touched[n] = j
                n += 1
            score[j] += weight * value[at]
    return n


@njit(cache=True)
def reach_together(links, own, own_item, n_own, n_items, score, strongest, touched):  # type: ignore[no-untyped-def]
    """Sum and maximum of cosine x decayed orders over a user's items; returns how many were touched."""
    start, target, value = links
    n = 0
    for k in range(n_own):
        i = own_item[k]
        if own[k, 0] == 0 or i >= n_items:
            continue
        for at in range(start[i], start[i + 1]):
            j = target[at]
            if score[j] == 0.0:
                touched[n] = j
                n += 1
            score[j] += own[k, 6] * value[at]
            strongest[j] = max(strongest[j], own[k, 6] * value[at])
    return n


@njit(cache=True)
def reach_linear(linear, own, own_item, n_own, n_items, expected):  # type: ignore[no-untyped-def]
    """Expected purchases in the next order: overwrite `expected` with own decayed orders x weights."""
    place, weights = linear
    expected[:] = 0.0
    for k in range(n_own):
        if own[k, 0] > 0 and own_item[k] < n_items and place[own_item[k]] >= 0:
            row, x = weights[place[own_item[k]]], own[k, 6]
            for j in range(len(expected)):
                expected[j] += x * row[j]
