"""Which items follow or accompany which: sparse tables of the strongest links, and a linear model of the next order."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import linalg, sparse

from training.interest.marks import Marks

__all__ = ["linear_of", "links_of"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Table = tuple[Ints, NDArray[np.int32], NDArray[np.float32]]

BLOCK = 20_000_000  # numbers of a dense block
MOST_HELD = 10_000_000  # non-zeros of the decayed histories
PRIOR = 5.0


def links_of(marks: Marks, size: int, order_weight: Floats, half_life_orders: float, most: int) -> dict[str, Table]:
    """Tables next, later and together: rows of at most `most` targets, the strongest first, in [0, 1]."""
    orders = _orders(marks, size)
    same = np.flatnonzero(marks.order_user[1:] == marks.order_user[:-1])
    weight = order_weight[same + 1]
    before, after = orders[same], orders[same + 1]
    held, which = held_before(marks, size, half_life_orders)
    weighed = sparse.diags_array(order_weight)
    return {
        "next": _strongest(_scaled(before, weight), after, _sums(before, weight) + PRIOR, None, most, diagonal=True),
        "later": _strongest(
            _scaled(held, order_weight[which]),
            orders[which],
            _sums(held, order_weight[which]) + PRIOR,
            None,
            most,
            diagonal=True,
        ),
        "together": _strongest(
            weighed @ orders,
            orders,
            np.sqrt(_sums(orders, order_weight) + PRIOR),
            np.sqrt(_sums(orders, order_weight) + PRIOR),
            most,
            diagonal=False,
        ),
    }


def linear_of(
    marks: Marks, size: int, order_weight: Floats, half_life_orders: float, most: int, seed: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Ridge regression of the next order's items on the decayed earlier ones: places [I] and weights [M, M].

    The penalty is the one, of five, that foretells best the orders of every tenth user, who were left out for that.
    """
    place = np.full(size, -1, np.int32)
    if most <= 0 or len(marks.order_user) < 2:
        return place, np.zeros((0, 0), np.float32)
    frequency = np.bincount(marks.item, minlength=size)
    top = np.argsort(-frequency, kind="stable")[:most]
    top = np.sort(top[frequency[top] > 1])
    if not len(top):
        return place, np.zeros((0, 0), np.float32)
    place[top] = np.arange(len(top))
    held, which = held_before(marks, size, half_life_orders)
    if not len(which):
        return place, np.zeros((len(top), len(top)), np.float32)
    x, y = held[:, top], _orders(marks, size)[which][:, top]
    user = marks.order_user[which]
    weight = order_weight[which]
    test = np.random.default_rng(seed).permutation(user.max() + 1)[user] % 10 == 0
    best, penalty = -np.inf, 1.0
    if test.any() and not test.all():
        gram, right = _normal(x[~test], y[~test], weight[~test])
        x_test, y_test = x[test], y[test]
        scale = max(float(np.trace(gram)) / len(gram), 1e-9)
        for each in scale * 4.0 ** np.arange(-2, 4):
            found = _quality(x_test, y_test, _solve(gram, right, each))
            if found > best:
                best, penalty = found, each
    gram, right = _normal(x, y, weight)
    return place, _solve(gram, right, penalty)


def held_before(marks: Marks, size: int, half_life_orders: float) -> tuple[sparse.csr_array, Ints]:
    """What each order's user held before it: rows of 0.5 ** ((k - 1) / half-life), k orders ago, and which orders.

    A user's first order has no row. Beyond `MOST_HELD` numbers only each user's latest orders keep theirs.
    """
    bound = int(len(marks.item) * 4 + MOST_HELD)
    start, item, value, which = _held(
        marks.user_start, marks.order_start, marks.item, 0.5 ** (1.0 / half_life_orders), size, bound
    )
    return sparse.csr_array((value, item, start), shape=(len(which), size)), which


@njit(cache=True)  # type: ignore[untyped-decorator]
def _held(
    user_start: Ints, order_start: Ints, item: Ints, decay: float, size: int, bound: int
) -> tuple[Ints, NDArray[np.int32], NDArray[np.float32], Ints]:
    users = len(user_start) - 1
    # First how much each order would hold, then the furthest distance from the end that still fits.
    seen = np.full(size, -1, np.int64)
    longest = 0
    for user in range(users):
        longest = max(longest, user_start[user + 1] - user_start[user])
    need = np.zeros(longest + 1, np.int64)
    for user in range(users):
        distinct = 0
        for order in range(user_start[user], user_start[user + 1]):
            if order > user_start[user]:
                need[user_start[user + 1] - order] += distinct
            for mark in range(order_start[order], order_start[order + 1]):
                if seen[item[mark]] != user:
                    seen[item[mark]] = user
                    distinct += 1
    total, depth = 0, 0
    for k in range(1, longest + 1):
        if total + need[k] > bound:
            break
        total += need[k]
        depth = k
    rows = 0
    for user in range(users):
        rows += min(max(user_start[user + 1] - user_start[user] - 1, 0), depth)
    start, which = np.zeros(rows + 1, np.int64), np.empty(rows, np.int64)
    out_item, out_value = np.empty(total, np.int32), np.empty(total, np.float32)
    value, last = np.zeros(size), np.zeros(size, np.int64)
    own = np.empty(size, np.int64)
    at, row = 0, 0
    for user in range(users):
        owned = 0
        for order in range(user_start[user], user_start[user + 1]):
            if order > user_start[user] and user_start[user + 1] - order <= depth:
                for k in range(owned):
                    out_item[at] = own[k]
                    out_value[at] = value[own[k]] * decay ** (order - last[own[k]] - 1)
                    at += 1
                which[row] = order
                row += 1
                start[row] = at
            for mark in range(order_start[order], order_start[order + 1]):
                i = item[mark]
                if value[i] == 0.0:
                    own[owned] = i
                    owned += 1
                    value[i] = 1.0
                else:
                    value[i] = value[i] * decay ** (order - last[i]) + 1.0
                last[i] = order
        for k in range(owned):
            value[own[k]] = 0.0
    return start, out_item[:at], out_value[:at], which


def _orders(marks: Marks, size: int) -> sparse.csr_array:
    ones = np.ones(len(marks.item), np.float32)
    return sparse.csr_array((ones, marks.item, marks.order_start), shape=(len(marks.order_start) - 1, size))


def _scaled(rows: sparse.csr_array, weight: Floats) -> sparse.csr_array:
    return sparse.csr_array(sparse.diags_array(weight.astype(np.float32)) @ rows)


def _sums(rows: sparse.csr_array, weight: Floats) -> Floats:
    return np.asarray(rows.T @ weight, np.float64)


def _strongest(
    sources: sparse.csr_array,
    targets: sparse.csr_array,
    below: Floats,
    below_target: Floats | None,
    most: int,
    *,
    diagonal: bool,
) -> Table:
    """Rows of sources' x targets over both scales, cut to the `most` strongest; blocks bound the memory."""
    size = sources.shape[1]
    by_item = sparse.csr_array(sources.T)
    targets = sparse.csr_array(targets, dtype=np.float32)
    step = max(BLOCK // max(size, 1), 1)
    starts, items, values = [np.zeros(1, np.int64)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for first in range(0, size, step):
        block = sparse.csr_array(by_item[first : first + step] @ targets)
        counts, item, value = _cut(
            block.indptr.astype(np.int64),
            block.indices.astype(np.int32),
            block.data.astype(np.float64),
            below[first : first + step],
            np.ones(size) if below_target is None else below_target,
            first,
            most,
            diagonal,
        )
        starts.append(counts)
        items.append(item)
        values.append(value)
    return np.cumsum(np.concatenate(starts)), np.concatenate(items), np.concatenate(values)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _cut(
    start: Ints,
    item: NDArray[np.int32],
    value: Floats,
    below: Floats,
    below_target: Floats,
    first: int,
    most: int,
    diagonal: bool,
) -> tuple[Ints, NDArray[np.int32], NDArray[np.float32]]:
    rows = len(start) - 1
    counts = np.zeros(rows, np.int64)
    out_item, out_value = np.empty(len(item), np.int32), np.empty(len(item), np.float32)
    at = 0
    for row in range(rows):
        strength = np.empty(start[row + 1] - start[row])
        target = np.empty(len(strength), np.int32)
        n = 0
        for k in range(start[row], start[row + 1]):
            if diagonal or item[k] != first + row:
                strength[n] = value[k] / (below[row] * below_target[item[k]])
                target[n] = item[k]
                n += 1
        order = np.argsort(-strength[:n], kind="mergesort")[:most]
        for k in order:
            if strength[k] > 0:
                out_item[at], out_value[at] = target[k], strength[k]
                at += 1
                counts[row] += 1
    return counts, out_item[:at], out_value[:at]


def _normal(x: sparse.csr_array, y: sparse.csr_array, weight: Floats) -> tuple[Floats, Floats]:
    scaled = _scaled(x, weight)
    return np.asarray((x.T @ scaled).todense(), np.float64), np.asarray((scaled.T @ y).todense(), np.float64)


def _solve(gram: Floats, right: Floats, penalty: float) -> NDArray[np.float32]:
    factor = linalg.cho_factor(gram + penalty * np.eye(len(gram)), lower=True, overwrite_a=True, check_finite=False)
    return np.ascontiguousarray(linalg.cho_solve(factor, right, check_finite=False), np.float32)


def _quality(x: sparse.csr_array, y: sparse.csr_array, weights: NDArray[np.float32], most: int = 10) -> float:
    """Mean share of an order's items among the ten with the highest expectation."""
    hits, wanted = 0.0, 0
    for first in range(0, x.shape[0], 2000):
        expected = np.asarray(x[first : first + 2000] @ weights)
        top = np.argpartition(-expected, min(most, expected.shape[1] - 1), axis=1)[:, :most]
        truth = y[first : first + 2000].todense()
        size = np.asarray(truth.sum(axis=1)).reshape(-1)
        hit = np.take_along_axis(np.asarray(truth), top, axis=1).sum(axis=1)
        hits += float((hit[size > 0] / size[size > 0]).sum())
        wanted += int((size > 0).sum())
    return hits / max(wanted, 1)
