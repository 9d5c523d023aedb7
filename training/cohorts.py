"""Who stays: people by the month they came, and the share of them that is active in each month after."""

from __future__ import annotations

from datetime import timedelta

import ibis
import numpy as np
import pandas as pd

from configs import Config
from features.engine import connect
from features.events import read_events
from features.periods import now
from features.tiles import ACTIVITY_KINDS

__all__ = ["events_by_week", "retention"]

MONTH_DAYS = 30


def retention(config: Config) -> pd.DataFrame:
    """By cohort (the month of the first event) and age in months of 30 days, the share that was active: [0, 1].

    Returns
    -------
    DataFrame
        Index: the cohort as ``2026-01``; column ``users``; columns 0, 1, 2, ...: NaN where that month is not over for
        everybody of the cohort.
    """
    events = read_events(connect(config), config)
    events = events.filter(events.event_type.isin(ACTIVITY_KINDS))
    seen = events.mutate(first_at=events.event_at.min().over(ibis.window(group_by="user_id")))
    age = (seen.event_at.epoch_seconds() - seen.first_at.epoch_seconds()) // (86_400 * MONTH_DAYS)
    active = seen.select("user_id", cohort=seen.first_at.strftime("%Y-%m"), age=age.cast("int64")).distinct()
    counted = active.group_by(["cohort", "age"]).aggregate(users=active.user_id.nunique()).to_pandas()
    wide = counted.pivot(index="cohort", columns="age", values="users").fillna(0.0).sort_index()
    sizes = wide[0]
    ends = pd.to_datetime(wide.index, format="%Y-%m", utc=True) + pd.offsets.MonthEnd(1)
    over = np.array([[end + timedelta(days=MONTH_DAYS * (k + 1)) <= now(config) for k in wide] for end in ends])
    share = (wide.div(sizes, axis=0)).where(over)
    table: pd.DataFrame = pd.concat([sizes.astype(int).rename("users"), share], axis=1)
    return table


def events_by_week(config: Config) -> pd.DataFrame:
    """How many events of each kind happened in each week, the weeks as index and the kinds as columns."""
    events = read_events(connect(config), config)
    counted = (
        events.group_by([events.event_at.truncate("W").name("week"), "event_type"])
        .aggregate(n=events.count())
        .to_pandas()
    )
    table: pd.DataFrame = (
        counted.pivot(index="week", columns="event_type", values="n").fillna(0).astype(int).sort_index()
    )
    return table
