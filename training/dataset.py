"""From events and features to a training set: one row per user and origin, joined as of the origin.

An origin is a past instant at which the model could have been asked. Features are those known at the origin, through
Feast's point-in-time join; what followed is kept as waiting times, from which every label is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ibis
import pandas as pd

from configs import Config
from configs.errors import TrainingError
from features.build import build
from features.catalog import NAMES, digest
from features.engine import connect
from features.events import content_hash, read_events, span
from features.periods import as_utc, days_of, now, upto
from features.store import Store
from features.tiles import ACTIVITY_KINDS
from training.labels import month_after, waiting

__all__ = ["TrainingSet", "assemble"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class TrainingSet:
    """Rows to learn from and to be judged on.

    ``frame`` holds ``user_id``, ``as_of``, the waiting times of `labels.waiting` in days, and every catalogue feature
    as float64 with NaN where a value is absent. ``first_event`` and ``known_until`` bound what the events tell.
    """

    frame: pd.DataFrame
    first_event: datetime
    known_until: datetime
    log: dict[str, Any]

    @property
    def first_day(self) -> float:
        """The first event, in days since 1970-01-01 UTC."""
        return float(days_of(pd.DatetimeIndex([self.first_event]))[0])

    def at(self, origins: Sequence[datetime]) -> pd.DataFrame:
        """The rows whose ``as_of`` is one of ``origins``."""
        return self.frame[self.frame["as_of"].isin(pd.DatetimeIndex(list(origins)))]


def assemble(config: Config, origins: Sequence[datetime], progress: Progress | None = None) -> TrainingSet:
    """The training set of ``origins``; missing or outdated feature snapshots are built first.

    Raises
    ------
    TrainingError
        When nobody is known at any origin.
    """
    origins = sorted({as_utc(origin) for origin in origins})
    build(config, origins, keep_current=True, progress=progress)
    keys = _keys(config, origins)
    if keys.empty:
        raise TrainingError(
            "nobody is known at any origin",
            got=[f"{origin:%Y-%m-%d}" for origin in origins],
            expected=f"origins after the first event, {span(config)[0]:%Y-%m-%d}",
            because="the history is shorter than the look-back",
            run="userops status",
        )
    store = Store(config)
    store.apply()
    frame = store.historical(keys, NAMES)
    log = {
        "origins": [origin.isoformat() for origin in origins],
        "rows": len(frame),
        "users": int(frame["user_id"].nunique()),
        "data_hash": content_hash(config),
        "catalogue_digest": digest(),
        "first_event_at": span(config)[0].isoformat(),
        "known_until": span(config)[1].isoformat(),
    }
    return TrainingSet(frame, span(config)[0], min(span(config)[1], now(config)), log)


def _keys(config: Config, origins: Sequence[datetime]) -> pd.DataFrame:
    """Everybody known at each origin, with the waiting times that follow it."""
    connection = connect(config)
    events = read_events(connection, config)
    as_of = pd.DataFrame({"as_of": pd.DatetimeIndex(list(origins)).as_unit("us")})
    as_of["month_start"] = month_after(pd.DatetimeIndex(as_of["as_of"])).as_unit("us")
    known = events.group_by("user_id").aggregate(first_at=events.event_at.min())
    every = known.cross_join(ibis.memtable(as_of))
    keys = upto(every, every.as_of, "first_at").select("user_id", "as_of", "month_start")
    frame: pd.DataFrame = connection.to_pyarrow(waiting(events, keys, ACTIVITY_KINDS)).to_pandas()
    return frame.drop(columns="month_start").sort_values(["as_of", "user_id"], ignore_index=True)
