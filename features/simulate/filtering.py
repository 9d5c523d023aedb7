"""What can be known of the hidden side: the forward filter over past counts, and the outlook over the days ahead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.simulate.process import Process

__all__ = ["filtered", "nothing_happens"]

Floats = NDArray[np.float64]


def filtered(
    process: Process, seasons: Floats, first_day: NDArray[np.int64], counts: pd.DataFrame, days: Sequence[int]
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
    classes = len(process.weights)
    belief = np.empty((4, len(first_day), classes))  # one plane per state: sums over states are sums of planes
    belief[:] = np.array(process.start)[:, None, None] * process.weights
    bought = np.zeros(len(first_day), dtype=np.int64)
    by_day = {int(str(day)): rows for day, rows in counts.groupby("day")}
    wanted, result = set(days), {}
    for day in range(max(wanted) + 1):
        known = int(np.searchsorted(first_day, day, side="left"))  # registered on an earlier day
        belief[:, :known] = _tomorrow(process, belief[:, :known])
        if day in wanted:
            belief[:, :known] /= belief[:, :known].sum(axis=(0, 2))[None, :, None]
            result[day] = belief[:, :known].transpose(1, 2, 0).copy(), bought[:known] == 1
        known = int(np.searchsorted(first_day, day, side="right"))
        silence = np.exp(-_totals(process, seasons[:, day], (True, True, True)))  # [bought, class, state]
        for state in range(4):
            belief[state, :known] *= silence[:, :, state][bought[:known]]
        if day in by_day:
            rows = by_day[day]
            who = rows["user"].to_numpy()
            seen = rows[["browses", "baskets", "orders"]].to_numpy(dtype=float)
            for state in range(4):
                # Seasons and the factor of the first order cancel: they do not depend on what is hidden.
                likelihood = np.prod(process.intensities[None, :, :, state] ** seen[:, :, None], axis=1)
                belief[state, who] *= likelihood
            belief[:, who] /= belief[:, who].sum(axis=(0, 2))[None, :, None]
            bought[who[seen[:, 2] > 0]] = 1
    return result


def _tomorrow(process: Process, belief: Floats) -> Floats:
    table = process.transitions
    result = np.zeros_like(belief)
    for state, to in zip(*np.nonzero(table.any(axis=0)), strict=True):
        result[to] += belief[state] * table[:, state, to]
    return result


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
