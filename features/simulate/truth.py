"""The true probabilities of the simulated shop: the best score that anybody could give.

``given="events"`` (the default) is the Bayes-optimal score: the process is known, the user's classes and state are not,
and are filtered from the user's events in ``(registration, as_of]``: ``P(label | events)``. No model that reads the
same events can rank better on average. ``given="state"`` also sees the hidden classes and the hidden state at
``as_of``; it is beyond the reach of any model, and useful to check the shop itself.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.errors import FeatureError
from features.periods import DAY, as_utc
from features.simulate.filtering import filtered, nothing_happens
from features.simulate.process import STATES, Process

__all__ = ["LABELS", "HiddenSide", "true_probability"]

LABELS = ("inactive", "repurchase", "repurchase_next_month", "first_order")

Floats = NDArray[np.float64]

# Per user and day. An order shows one visit; bought online it also shows one cart per line; any other cart is a basket
# left behind, and any other visit ended without one.
_COUNTS = """
WITH parts AS (
    SELECT user_id, date_diff('day', $first, event_at) AS day, order_id,
           count(*) FILTER (event_type = 'visit') AS visits,
           count(*) FILTER (event_type = 'cart')
             - count(*) FILTER (event_type = 'purchase' AND channel <> 'store') AS baskets
    FROM read_parquet($file)
    WHERE event_at <= $as_of AND event_type IN ('visit', 'cart', 'purchase')
    GROUP BY ALL
)
SELECT user_id, day, count(order_id) AS orders, sum(baskets)::BIGINT AS baskets,
       sum(visits)::BIGINT - orders - sum(baskets)::BIGINT AS browses
FROM parts
GROUP BY ALL
"""


def true_probability(
    folder: Path,
    as_of: datetime,
    label: str,
    horizon_days: float | None = None,
    given: Literal["events", "state"] = "events",
) -> pd.DataFrame:
    """The exact probability that ``label`` is 1, for every user of its population who had registered by ``as_of``.

    Parameters
    ----------
    folder
        A shop that `simulate` wrote.
    as_of
        A midnight (UTC) after the shop's first day; it may lie after the last one.
    label
        ``inactive`` (no activity in ``(as_of, as_of + h]``; everybody), ``repurchase`` (at least one purchase; those
        who have bought), ``first_order`` (at least one purchase; those who have not) or ``repurchase_next_month`` (at
        least one purchase in the calendar month that follows; those who have bought; no horizon).
    horizon_days
        h, whole days.
    given
        ``"events"``: the best possible score. ``"state"``: also sees what is hidden.

    Returns
    -------
    pandas.DataFrame
        ``user_id`` and ``p`` in [0, 1].
    """
    try:
        written_at = (folder / "truth" / "process.json").stat().st_mtime_ns
    except FileNotFoundError:
        raise FeatureError(f"{folder} holds no simulated shop", got="no truth/process.json") from None
    return open_truth(folder.resolve(), written_at).answer(as_utc(as_of), label, horizon_days, given)


@lru_cache(maxsize=1)
def open_truth(folder: Path, written_at: int) -> HiddenSide:
    # A shop that replaces another in the same folder was written at another time.
    return HiddenSide(folder)


class HiddenSide:
    """What only the simulator knows of one shop; keeps its last belief, because one ``as_of`` gets many questions."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "truth" / "process.json").read_text(encoding="utf-8"))
        self.folder, self.first = folder, as_utc(about["first"])
        self.process = Process.from_json(json.dumps(about["process"]))
        users = pd.read_parquet(folder / "users.parquet", columns=["user_id", "registered_at"])
        users = users.merge(pd.read_parquet(folder / "truth" / "users.parquet"), on="user_id", validate="one_to_one")
        users["first_day"] = (users.pop("registered_at") - self.first).dt.days
        self.users = users.sort_values(["first_day", "user_id"], ignore_index=True)
        self.known: dict[tuple[str, int], tuple[Floats, NDArray[np.bool_]]] = {}

    def answer(self, as_of: datetime, label: str, horizon_days: float | None, given: str) -> pd.DataFrame:
        """What `true_probability` says."""
        day, wait, days = self._window(as_of, label, horizon_days)
        seasons = self.process.seasons(self.first.date(), day + wait + days)
        belief, bought = self.belief(as_of, day, given)
        which = (True, True, True) if label == "inactive" else (False, False, True)
        quiet = nothing_happens(self.process, seasons[:, day:], which, wait)
        p = np.einsum("ucs,ucs->u", belief, quiet[bought.astype(np.int64)])
        asked = np.full(len(p), True) if label == "inactive" else bought != (label == "first_order")
        p = (p if label == "inactive" else 1 - p).clip(0, 1)  # rounding may leave [0, 1] by 1e-16
        return pd.DataFrame({"user_id": self.users["user_id"].to_numpy()[: len(p)][asked], "p": p[asked]})

    def _window(self, as_of: datetime, label: str, horizon_days: float | None) -> tuple[int, int, int]:
        """``as_of`` as a day number, the days before the label's window opens, and its length."""
        day, rest = divmod(as_of - self.first, DAY)
        if rest or day < 1:
            raise FeatureError("as_of is no midnight (UTC) of the shop", got=as_of, expected=f"after {self.first}")
        if label not in LABELS:
            raise FeatureError("the truth knows no such label", got=label, expected=LABELS)
        if label == "repurchase_next_month":
            start, end = _month(as_of, 1), _month(as_of, 2)
            return day, (start - as_of) // DAY, (end - start) // DAY
        if horizon_days is None or horizon_days < 1 or horizon_days % 1:
            raise FeatureError("the truth is known for whole days", got=horizon_days, expected="1, 2, 3, ... days")
        return day, 0, int(horizon_days)

    def belief(self, as_of: datetime, day: int, given: str) -> tuple[Floats, NDArray[np.bool_]]:
        """P(class, state) ``[user, class, state]`` at ``as_of``, and who has bought by then."""
        if given not in ("events", "state"):
            raise FeatureError("given names no kind of truth", got=given, expected=("events", "state"))
        if (given, day) not in self.known:
            self.known.clear()  # one belief is megabytes; the next questions are mostly of the same as_of
            if given == "state":
                self.known[given, day] = self._revealed(as_of, day)
            else:
                seasons = self.process.seasons(self.first.date(), day)
                first_day = self.users["first_day"].to_numpy()
                self.known[given, day] = filtered(self.process, seasons, first_day, self.counts(as_of), [day])[day]
        return self.known[given, day]

    def counts(self, as_of: datetime) -> pd.DataFrame:
        """``user, day, browses, baskets, orders`` of every user and day that has any, up to ``as_of``."""
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        values = {"first": self.first, "as_of": as_of, "file": str(self.folder / "events.parquet")}
        counts = connection.execute(_COUNTS, values).df()
        counts["user"] = pd.Index(self.users["user_id"]).get_indexer(counts["user_id"])
        return counts

    def _revealed(self, as_of: datetime, day: int) -> tuple[Floats, NDArray[np.bool_]]:
        known = self.users[self.users["first_day"] < day]
        states = pd.read_parquet(self.folder / "truth" / "states.parquet")
        current = states[states["since"] <= as_of].drop_duplicates("user_id", keep="last").set_index("user_id")
        state = current.loc[known["user_id"], "state"].map(list(STATES).index).to_numpy()
        belief = np.zeros((len(known), len(self.process.weights), 4))
        belief[np.arange(len(known)), known["class"].to_numpy(), state] = 1.0
        counts = self.counts(as_of)
        return belief, known["user_id"].isin(counts.loc[counts["orders"] > 0, "user_id"]).to_numpy()


def _month(as_of: datetime, ahead: int) -> datetime:
    """The first midnight of the calendar month ``ahead`` months after that of ``as_of``."""
    months = as_of.year * 12 + as_of.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
