"""What can be known of the hidden side: the forward filter over past counts, and the outlook over the days ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.simulate.process import Process

__all__ = ["filtered", "nothing_happens"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 1000  # users filtered together: their beliefs fit the processor's cache


def filtered(
    process: Process, seasons: Floats, first_day: Ints, counts: pd.DataFrame, days: Sequence[int]
) -> dict[int, tuple[Floats, NDArray[np.bool_]]]:
    """For each of ``days``, P(class, state at that midnight | counts of the days before), and who has bought by then.

    Parameters
    ----------
    seasons
        ``[count, day]``, at least ``max(days)`` columns.
    first_day
        Registration day of each user, ascending.
    counts
        ``user`` (position in ``first_day``), ``day``, ``browses``, ``baskets``, ``orders``; rows without any count may
        be left out.
    days
        Midnights, as days since the first one.

    Returns
    -------
    dict
        ``day -> (posterior [user, class, state], bought [user])`` for the users with ``first_day < day``.
    """
    last = max(days)
    silences = [np.exp(-_totals(process, seasons[:, day], (True, True, True))) for day in range(last)]
    table = counts.loc[counts["day"] < last, ["user", "day", "browses", "baskets", "orders"]].to_numpy(dtype=np.int64)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    found: dict[int, list[tuple[Floats, NDArray[np.bool_]]]] = {day: [] for day in days}
    for start in range(0, len(first_day), _BLOCK):
        low, high = np.searchsorted(table[:, 0], [start, start + _BLOCK])
        block = table[low:high] - [start, 0, 0, 0, 0]
        for day, belief in _filter_block(process, silences, first_day[start : start + _BLOCK], block, set(days)):
            found[day].append(belief)
    return {
        day: (np.concatenate([b for b, _ in part]), np.concatenate([o for _, o in part])) for day, part in found.items()
    }


def _filter_block(
    process: Process, silences: list[Floats], first_day: Ints, table: Ints, days: set[int]
) -> Iterator[tuple[int, tuple[Floats, NDArray[np.bool_]]]]:
    """The beliefs about some users at each of ``days``; ``table`` has columns user, day, browses, baskets, orders."""
    shape = (4, len(first_day), len(process.weights))  # one plane per state: a step is a few sums of planes
    belief, ahead, product = np.empty(shape), np.empty(shape), np.empty(shape[1:])
    belief[:] = np.array(process.start)[:, None, None] * process.weights
    bought = np.zeros(len(first_day), dtype=np.int64)
    moves = list(zip(*np.nonzero(process.transitions.any(axis=0)), strict=True))
    table = table[np.argsort(table[:, 1], kind="stable")]
    until = np.searchsorted(table[:, 1], np.arange(len(silences) + 1))
    for day in range(len(silences) + 1):
        known = int(np.searchsorted(first_day, day, side="left"))  # registered on an earlier day
        ahead[:] = belief
        ahead[:, :known] = 0.0
        for state, to in moves:
            ahead[to, :known] += np.multiply(
                belief[state, :known], process.transitions[:, state, to], out=product[:known]
            )
        belief, ahead = ahead, belief
        if day in days:
            belief[:, :known] /= belief[:, :known].sum(axis=(0, 2))[None, :, None]
            yield day, (belief[:, :known].transpose(1, 2, 0).copy(), bought[:known] == 1)
        if day == len(silences):
            return
        known = int(np.searchsorted(first_day, day, side="right"))
        for state in range(4):
            quiet = silences[day][:, :, state]  # [bought, class]
            belief[state, :known] *= np.take(quiet, bought[:known], axis=0, out=product[:known], mode="clip")
        rows = table[until[day] : until[day + 1]]
        if len(rows):
            who, seen = rows[:, 0], rows[:, 2:]
            for state in range(4):
                # Seasons and the factor of the first order cancel: they do not depend on what is hidden.
                belief[state, who] *= np.prod(process.intensities[None, :, :, state] ** seen[:, :, None], axis=1)
            belief[:, who] /= belief[:, who].sum(axis=(0, 2))[None, :, None]
            bought[who[seen[:, 2] > 0]] = 1


def _totals(process: Process, season: Floats, which: tuple[bool, bool, bool]) -> Floats:
    """``[bought, class, state]``: the expected number of events of the kinds in ``which`` on one day."""
    table = process.intensities * season[:, None, None] * np.array(which)[:, None, None]
    return np.stack([table[0] + table[1] + table[2] * factor for factor in (process.first_order_factor, 1.0)])


def nothing_happens(process: Process, seasons: Floats, which: tuple[bool, bool, bool], wait: int = 0) -> Floats:
    """``[bought, class, state]``: P(no event of the kinds in ``which`` from day ``wait`` on), as of day 0."""
    classes = len(process.weights)
    quiet = np.ones((2, classes, 4))
    for day in reversed(range(seasons.shape[1])):
        quiet = np.einsum("cst,bct->bcs", process.transitions, quiet)
        if day >= wait:
            quiet *= np.exp(-_totals(process, seasons[:, day], which))
    return quiet
