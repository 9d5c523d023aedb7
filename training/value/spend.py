"""How much did each customer spend within a window? Purchases as a running sum per user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config
from features.engine import connect
from features.events import read_events
from features.periods import days_of

__all__ = ["Spend"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spend:
    """Purchases sorted by user and time; ``total[k]`` is the sum of the first ``k`` amounts of all users together.

    Amounts are those of purchases, before returns; an amount that is not known counts 0.
    """

    users: pd.Index
    code: NDArray[np.intp]
    at: Floats
    total: Floats

    @classmethod
    def of(cls, user: NDArray[np.object_], at: Floats, amount: Floats) -> Spend:
        """From one row per purchase: who, when in days since 1970 in UTC, how much; shape (n,) each.

        Examples
        --------
        >>> spend = Spend.of(np.array(["a", "a", "b"], object), np.array([1.0, 5.0, 5.0]), np.array([10.0, 20.0, 7.0]))
        >>> who = np.array(["a", "a", "b", "nobody"], object)
        >>> spend.between(who, np.array([0.0, 1, 5, 0]), np.array([5.0, 5, 9, 9])).tolist()
        [30.0, 20.0, 0.0, 0.0]
        """
        users = pd.Index(np.unique(user.astype(str)))
        code = users.get_indexer(pd.Index(user.astype(str)))
        order = np.lexsort((at, code))
        total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(amount[order]))])
        return cls(users, code[order], at[order], total)

    @classmethod
    def read(cls, config: Config) -> Spend:
        """All purchases of the event store; memory grows with the number of orders, not of lines."""
        connection = connect(config)
        events = read_events(connection, config)
        bought = events.filter(events.event_type == "purchase")
        orders = bought.group_by("user_id", "event_at").aggregate(amount=bought.amount.sum())
        frame = connection.to_pyarrow(orders).to_pandas()
        at = days_of(pd.DatetimeIndex(frame["event_at"]))
        return cls.of(frame["user_id"].to_numpy(object), at, frame["amount"].to_numpy(float))

    def between(self, user: NDArray[np.object_], start: Floats, end: Floats) -> Floats:
        """The spend of each user in ``(start, end]``, in days since 1970; 0 for whoever never bought."""
        code = self.users.get_indexer(pd.Index(user.astype(str)))
        known = code >= 0
        first, last = (self._upto(code[known], instant[known]) for instant in (start, end))
        found = np.zeros(len(user))
        found[known] = self.total[last] - self.total[first]
        return found

    def _upto(self, code: NDArray[np.intp], at: Floats) -> NDArray[np.intp]:
        """How many purchases come before or at ``at`` of the user ``code``, all earlier users included."""
        asked = np.repeat([0, 1], [len(self.code), len(code)])
        # Sorted together, purchases before questions of the same instant.
        ranked = np.lexsort((asked, np.concatenate([self.at, at]), np.concatenate([self.code, code])))
        before = np.cumsum(asked[ranked] == 0)
        found = np.empty(len(asked), dtype=np.intp)
        found[ranked] = before
        return found[len(self.code) :]
