"""When is a need satisfied? After a purchase the interest in its category is low until its usual interval is over."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from configs.history import PURCHASE, History

__all__ = ["DAY_US", "Need", "Needs", "purchase_days"]

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

    def of(self, history: History, as_of_us: int) -> dict[int, Need]:
        """The need of every category that this user bought at or before ``as_of_us``, by the category's code."""
        bought = (history.kind == PURCHASE) & (history.category != 0) & (history.at_us <= as_of_us)
        found: dict[int, Need] = {}
        category, at_us = purchase_days(history.category[bought], history.at_us[bought])
        edges = [0, *(np.flatnonzero(category[1:] != category[:-1]) + 1).tolist(), len(category)]
        for low, high in pairwise(edges if len(category) else []):
            code = int(category[low])
            place = int(np.searchsorted(self.categories, code))
            if place == len(self.categories) or self.categories[place] != code:
                continue
            gaps = np.diff(at_us[low:high]) / DAY_US
            usual = self._usual(float(self.gap_days[place]), gaps)
            since = float(as_of_us - at_us[high - 1]) / DAY_US
            window = float(self.window[place]) * usual
            found[code] = Need(since, usual, since < window, window)
        return found

    def _usual(self, gap_days: float, own: Floats) -> float:
        """The user's own gaps and the category's, averaged in logarithms."""
        total = float(np.log(np.maximum(own, 1.0)).sum()) + self.prior_gaps * float(np.log(gap_days))
        return float(np.exp(total / (len(own) + self.prior_gaps)))


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
