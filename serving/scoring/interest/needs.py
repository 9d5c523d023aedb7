"""When is a need satisfied? After a purchase the interest in its category is low until its usual interval is over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from configs.history import PURCHASE, History
from serving.scoring.interest.statistics import places

__all__ = ["DAY_US", "Need", "Needs", "purchase_days", "rhythms"]

DAY_US = 86_400_000_000
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Need:
    """Where a user stands in a category bought before; durations in days.

    ``satisfied`` means ``days_since < window_days``, and ``window_days <= usual_days``.
    """

    days_since: float
    usual_days: float
    satisfied: bool
    window_days: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What was learned about the rhythm of each category; c categories.

    Attributes
    ----------
    categories
        int64[c]: codes, rising.
    gap_days
        float64[c]: the usual days between two purchase days of one user.
    window
        float64[c]: for which share of the usual gap, in [0, 1], an order is less than half as likely as otherwise to
        hold the category again; 0 where no such dip was measured: such a category is never satisfied.
    prior_gaps
        How many of a user's own gaps weigh as much as the category's.
    """

    categories: Ints
    gap_days: Floats
    window: Floats
    prior_gaps: float

    def __post_init__(self) -> None:
        for name in ("categories", "gap_days", "window"):
            getattr(self, name).setflags(write=False)

    def of(self, history: History, as_of_us: int) -> dict[int, Need]:
        """The need of every category that this user bought at or before ``as_of_us``, by the category's code."""
        bought = (history.kind == PURCHASE) & (history.category != 0) & (history.at_us <= as_of_us)
        codes = np.unique(history.category[bought])
        since, usual, window = (column.tolist() for column in self._rhythm(history, as_of_us, codes))
        return {
            code: Need(since[k], usual[k], since[k] < window[k], window[k])
            for k, code in enumerate(codes.tolist())
            if usual[k] == usual[k]  # a category that is not known has no rhythm
        }

    def columns(self, history: History, as_of_us: int, categories: Ints) -> Floats:
        """``days_since / usual_days`` and ``satisfied`` of each category: float64[n, 2], NaN where never bought.

        The same numbers as those of `of`.
        """
        since, usual, window = self._rhythm(history, as_of_us, categories)
        satisfied = np.where(usual == usual, since < window, np.nan)
        return np.stack([since / usual, satisfied], axis=1)

    def _rhythm(self, history: History, as_of_us: int, categories: Ints) -> tuple[Floats, Floats, Floats]:
        """Days since, usual days and window of each category, NaN where it is unknown or was never bought."""
        out = np.full((3, len(categories)), np.nan)
        asked = np.ascontiguousarray(categories)[:]
        asked.setflags(write=False)
        _fill(
            out,
            places(self.categories, categories),
            asked,
            (history.category, history.kind, history.at_us, as_of_us),
            (self.gap_days, self.window, self.prior_gaps),
        )
        return out[0], out[1], out[2]


def rhythms(needs: Needs, whole: History, start: Ints, as_of_us: Ints, pairs: Ints, categories: Ints) -> Floats:
    """Days since, usual days and window of many users' categories, float64[3, n], NaN where unknown or never bought.

    User k has the lines start[k] : start[k + 1] and the categories pairs[k] : pairs[k + 1]; the numbers of `Needs.of`.
    """
    out = np.full((3, len(categories)), np.nan)
    lines = (whole.category, whole.kind, whole.at_us)
    learned = (needs.gap_days, needs.window, needs.prior_gaps)
    _fill_all(out, places(needs.categories, categories), categories, start, as_of_us, pairs, lines, learned)
    return out


def purchase_days(group: Ints, at_us: Ints) -> tuple[Ints, Ints]:
    """The last instant of every day (UTC) on which a group bought, by group and time.

    Examples
    --------
    >>> day = DAY_US
    >>> group, at = purchase_days(np.array([2, 1, 2, 2]), np.array([5, 7, day, 9]))
    >>> group.tolist(), at.tolist()
    ([1, 2, 2], [7, 9, 86400000000])
    """
    order = np.lexsort((at_us, group))
    group, at_us = group[order], at_us[order]
    last = np.ones(len(group), dtype=np.bool_)
    last[:-1] = (group[1:] != group[:-1]) | (at_us[1:] // DAY_US != at_us[:-1] // DAY_US)
    return group[last], at_us[last]


@njit(cache=True, nogil=True)
def _fill(out, row, categories, lines, learned):  # type: ignore[no-untyped-def]
    category, kind, at_us, as_of_us = lines
    gap_days, window, prior_gaps = learned
    for k in range(len(row)):
        if row[k] < 0:
            continue
        before = k - 1
        while before >= 0 and categories[before] != categories[k]:
            before -= 1
        if before >= 0:  # neighbours in a list of items often share their category
            for value in range(len(out)):  # as slices, numba would compile an error message for two seconds
                out[value, k] = out[value, before]
            continue
        days, total, at, end_of_day = 0, 0.0, 0, 0
        for line in range(len(at_us)):
            if kind[line] != PURCHASE or category[line] != categories[k] or at_us[line] > as_of_us:
                continue
            if days > 0 and at_us[line] // DAY_US == at // DAY_US:
                at = at_us[line]
                continue
            if days > 1:
                total += np.log(max((at - end_of_day) / DAY_US, 1.0))
            days += 1
            end_of_day = at
            at = at_us[line]
        if days > 1:
            total += np.log(max((at - end_of_day) / DAY_US, 1.0))
        if days > 0:
            usual = np.exp((total + prior_gaps * np.log(gap_days[row[k]])) / (days - 1 + prior_gaps))
            out[0, k] = (as_of_us - at) / DAY_US
            out[1, k] = usual
            out[2, k] = window[row[k]] * usual


@njit(cache=True, nogil=True)
def _fill_all(out, row, categories, start, as_of_us, pairs, lines, learned):  # type: ignore[no-untyped-def]
    category, kind, at_us = lines
    for user in range(len(as_of_us)):
        begin, end, first, last = start[user], start[user + 1], pairs[user], pairs[user + 1]
        own = (category[begin:end], kind[begin:end], at_us[begin:end], as_of_us[user])
        _fill(out[:, first:last], row[first:last], categories[first:last], own, learned)
