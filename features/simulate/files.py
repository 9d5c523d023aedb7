"""The simulated shop's Parquet files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.events import KINDS
from features.simulate.assortment import CATEGORIES, STORES
from features.simulate.journal import Journal
from features.simulate.occasions import CHANNELS, Habits
from features.simulate.people import People
from features.simulate.process import STATES, Process

__all__ = ["microseconds", "write_events", "write_table", "write_truth"]

Floats = NDArray[np.float64]

_DAY_US = 86_400_000_000


def write_events(
    path: Path, journal: Journal, ids: NDArray[np.str_], items: list[str], first: datetime, days: int, late: Floats
) -> None:
    """The event file; ``late`` is how long each row takes to reach us, in days."""
    j = journal
    base = round(first.timestamp()) * 1_000_000
    event_at = base + microseconds(j.at)
    # The files are taken at the end: what would arrive later arrives then.
    ingested_at = np.minimum(event_at + microseconds(late), base + days * _DAY_US)
    notes = list(j.notes)
    note = j.note.copy()
    cut = np.flatnonzero(j.discount > 0)
    note[cut] = len(notes) + np.arange(len(cut))
    notes += [f'{{"discount": {value:.2f}}}' for value in j.discount[cut]]
    orders = [f"o{k + 1:07d}" for k in range(int(j.order.max(initial=-1)) + 1)]
    columns = {
        "user_id": _decode(j.user, list(ids)),
        "event_type": _decode(j.kind, list(KINDS)),
        "event_at": _instants(event_at),
        "ingested_at": _instants(ingested_at),
        "channel": _decode(j.channel, list(CHANNELS)),
        "category_id": _decode(j.category, [c.category_id for c in CATEGORIES]),
        "item_id": _decode(j.item, items),
        "store_id": _decode(j.store, [s for s, _ in STORES]),
        "order_id": _decode(j.order, orders),
        "quantity": pa.array(j.quantity, from_pandas=True),
        "amount": pa.array(j.amount, from_pandas=True),
        "props": _decode(note, notes),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_truth(
    folder: Path, people: People, habits: Habits, ids: NDArray[np.str_], first: datetime, process: Process
) -> None:
    """What only the simulator knows: parameters, classes, stays in states, tastes, repeat-purchase intervals."""
    folder.mkdir()
    write_table(folder / "users.parquet", {"user_id": ids, "class": people.classes})
    # One row per stay in a state: it holds from midnight `since` (the registration day's for the first) to the next.
    before = np.concatenate([np.full((len(ids), 1), -1, dtype=np.int8), people.states[:, :-1]], axis=1)
    user, day = np.nonzero(people.states != before)
    since = pd.Timestamp(first) + pd.to_timedelta(day, unit="D")
    write_table(
        folder / "states.parquet",
        {"user_id": ids[user], "since": since, "state": np.array(STATES)[people.states[user, day]]},
    )
    categories = np.array([c.category_id for c in CATEGORIES])
    tastes = {"first": habits.taste_first.reshape(-1), "last": habits.taste_last.reshape(-1)}
    keys = {"user_id": np.repeat(ids, len(categories)), "category_id": np.tile(categories, len(ids))}
    write_table(folder / "tastes.parquet", keys | tastes)
    intervals = [c.interval_days for c in CATEGORIES]
    write_table(folder / "categories.parquet", {"category_id": categories, "interval_days": intervals})
    about = {"first": first.isoformat(), "process": json.loads(process.to_json())}
    (folder / "process.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def write_table(path: Path, columns: Mapping[Any, Any]) -> None:
    """One Parquet file; instants in microseconds."""
    frame = pd.DataFrame(dict(columns))
    for name, kind in frame.dtypes.items():
        if isinstance(kind, pd.DatetimeTZDtype):
            frame[name] = frame[name].dt.as_unit("us")
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, compression="zstd")


def microseconds(days: NDArray[np.float64]) -> NDArray[np.int64]:
    """Days as whole microseconds."""
    return np.rint(days * _DAY_US).astype(np.int64)


def _instants(microseconds: NDArray[np.int64]) -> pa.Array[Any]:
    return pa.array(microseconds, type=pa.int64()).cast(pa.timestamp("us", tz="UTC"))


def _decode(codes: NDArray[np.int64], values: list[str]) -> pa.Array[Any]:
    positions = pa.Array.from_pandas(codes, mask=codes < 0, type=pa.int64())
    return pa.array(values, type=pa.string()).take(positions)
