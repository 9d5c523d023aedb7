"""Which part of the customers a row belongs to, from what was known at its origin: tenure, channel, value, store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config
from features.engine import connect
from features.events import read_events
from features.periods import upto

__all__ = ["SEGMENTS", "UNKNOWN", "home_stores", "segments"]

SEGMENTS = ("tenure", "channel", "value", "store")
UNKNOWN = "unknown"
CHANNELS = ("app", "web", "store", "wecom")
TENURES = {30: "up to 30 d", 90: "31-90 d", 365: "91-365 d", np.inf: "over 365 d"}
THIRDS = ("low", "middle", "high")


def segments(values: Mapping[str, NDArray[np.float64]], stores: NDArray[np.object_]) -> dict[str, NDArray[np.object_]]:
    """The name of each row's part by each of `SEGMENTS`, ``unknown`` where the events do not tell.

    Parameters
    ----------
    values
        Features of the catalogue by name, shape (n,) each: rows of one origin, among which thirds are thirds.
    stores
        The store where each row's user buys mostly, None when there is none.

    Examples
    --------
    >>> shares = {f"{channel}_share_180d": np.array([0.2, np.nan]) for channel in CHANNELS}
    >>> rows = {"tenure_days": np.array([30.0, 400]), "spend_365d": np.array([np.nan, 5]), **shares}
    >>> for name, part in segments(rows, np.array(["s1", None], object)).items():
    ...     print(name, part.tolist())
    tenure ['up to 30 d', 'over 365 d']
    channel ['app', 'unknown']
    value ['none', 'low']
    store ['s1', 'unknown']
    """
    return {
        "tenure": _tenure(values["tenure_days"]),
        "channel": _channel([values[f"{channel}_share_180d"] for channel in CHANNELS]),
        "value": _value(np.nan_to_num(values["spend_365d"])),
        "store": np.array([UNKNOWN if store is None else store for store in stores], dtype=object),
    }


def home_stores(config: Config, as_of: datetime) -> dict[str, str]:
    """The store in which each user bought most lines at or before ``as_of``; the first by name of equal ones."""
    connection = connect(config)
    events = upto(read_events(connection, config), as_of)
    bought = events.filter((events.event_type == "purchase") & events.store_id.notnull())
    lines = bought.group_by("user_id", "store_id").aggregate(lines=bought.count())
    most = ibis.window(group_by=lines.user_id, order_by=[lines.lines.desc(), lines.store_id.asc()])
    first = lines.mutate(place=ibis.row_number().over(most)).filter(lambda t: t.place == 0)
    table = connection.to_pyarrow(first.select("user_id", "store_id"))
    return dict(zip(table["user_id"].to_pylist(), table["store_id"].to_pylist(), strict=True))


def _tenure(days: NDArray[np.float64]) -> NDArray[np.object_]:
    found = np.array([*TENURES.values()], dtype=object)[np.searchsorted([*TENURES], np.nan_to_num(days))]
    return np.where(np.isnan(days), UNKNOWN, found)


def _channel(shares: Sequence[NDArray[np.float64]]) -> NDArray[np.object_]:
    table = np.nan_to_num(np.column_stack(shares), nan=-1.0)
    found = np.array(CHANNELS, dtype=object)[table.argmax(axis=1)]
    largest = table.max(axis=1)
    return np.select([largest < 0, largest == 0], [UNKNOWN, "other"], found).astype(object)


def _value(spend: NDArray[np.float64]) -> NDArray[np.object_]:
    """Thirds of those who spent anything in the last year; equal amounts stay together."""
    paid = pd.Series(spend[spend > 0])
    found = np.full(len(spend), "none", dtype=object)
    before = paid.rank(method="min").to_numpy(float) - 1
    found[spend > 0] = np.array(THIRDS, dtype=object)[(before * len(THIRDS) // max(len(paid), 1)).astype(int)]
    return found
