"""Publication: a snapshot file becomes the rows that the service reads, in one transaction and bounded memory."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from configs import Config
from features import online, snapshots, vectors
from features.assortment import read_assortment, write_assortment
from features.catalog import NAMES, digest

__all__ = ["Progress", "Publication", "publish", "write_vectors"]

CHUNK = 20_000  # users packed at a time
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Publication:
    """What a publication wrote; ``skipped_older`` users of the snapshot kept something newer."""

    as_of: datetime
    users: int
    rows_written: int
    values_written: int
    skipped_older: int
    profiles: int
    histories: int
    items: int
    seconds: float
    digest: str


def publish(config: Config, as_of: datetime, progress: Progress | None = None) -> Publication:
    """Put the newest snapshot at or before ``as_of``, the newest profiles, histories and assortment, online.

    A snapshot holds everybody whose events we have: whoever is online from before it and not in it is gone, and goes.
    """
    started = time.monotonic()
    catalogue = digest()
    at, path = snapshots.newest(config, "user", as_of)
    snapshots.check_catalogue(path, NAMES, catalogue)
    offered = read_assortment(config, at)  # before the transaction: nobody waits for it
    beside = {}
    with online.publication(online.path_of(config.home)) as connection:
        users, written = write_vectors(config, connection, path, NAMES, catalogue, progress)
        for one in _BESIDE:
            beside[one.table] = _write_beside(config, connection, one, as_of, progress)
        write_assortment(connection, offered, int(at.timestamp()))
        online.drop_older(connection, online.table_of(online.VECTOR_VIEW), int(at.timestamp()))
        if written:
            online.record(connection, online.VECTOR_VIEW, catalogue, int(at.timestamp()), int(time.time()), written)
    return Publication(
        as_of=at,
        users=users,
        rows_written=written + sum(beside.values()),
        values_written=written * len(NAMES) + sum(beside.values()),
        skipped_older=users - written,
        profiles=beside["profile"],
        histories=beside["history"],
        items=len(offered.items),
        seconds=time.monotonic() - started,
        digest=catalogue,
    )


@dataclass(frozen=True)
class _Beside:
    """A view beside the vectors: its name and feature online, its snapshots' table, and how a column becomes bytes."""

    view: str
    feature: str
    table: str
    told: str
    serialise: Callable[[Any], list[bytes]]
    chunk: int


def _write_beside(
    config: Config, connection: sqlite3.Connection, one: _Beside, as_of: datetime, progress: Progress | None
) -> int:
    """How many rows of the newest snapshot at or before ``as_of`` were written; older rows of nobody in it go."""
    table, written, behind = online.table_of(one.view), 0, 0
    online.create(connection, table)
    for then, file in [found for found in snapshots.snapshots(config, one.table) if found[0] <= as_of][-1:]:
        for total, rows in _chunks(config, file, one.feature, (one.feature,), one.serialise, one.chunk):
            written += online.upsert(connection, table, rows)
            behind += len(rows)
            if progress:
                progress(one.told, behind / total)
        online.drop_older(connection, table, int(then.timestamp()))
    return written


def write_vectors(
    config: Config,
    connection: sqlite3.Connection,
    path: Path,
    names: tuple[str, ...],
    catalogue: str,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """How many users a snapshot file has, and for how many of them its vector was written."""
    table = online.table_of(online.VECTOR_VIEW)
    online.create(connection, table)
    last = online.last_publication(connection, online.VECTOR_VIEW)
    if last is not None and last["digest"] != catalogue:
        # Nobody can read vectors of another catalogue any more: they must not outlive their users.
        online.keep_prefix(connection, table, vectors.prefix(len(names), catalogue))
    users = written = 0
    for total, rows in _chunks(config, path, online.VECTOR, names, lambda batch: _vectors(batch, catalogue)):
        written += online.upsert(connection, table, rows)
        users += len(rows)
        if progress:
            progress("vectors", users / total)
    return users, written


def _chunks(
    config: Config,
    path: Path,
    feature: str,
    columns: tuple[str, ...],
    serialise: Callable[[Any], list[bytes]],
    chunk: int | None = None,
) -> Iterator[tuple[int, list[online.Row]]]:
    """How many rows a snapshot has, and its rows in key order (a B-tree grows twice as fast), a chunk at a time."""
    from features import asof

    selected = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
    with asof.connect(config.memory_limit, config.threads, str(config.home / "tmp")) as connection:
        total = connection.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchall()[0][0]
        batches = connection.execute(
            "SELECT user_id, epoch_us(as_of::TIMESTAMPTZ) // 1000000, epoch_us(built_at::TIMESTAMPTZ) // 1000000, "
            f"{selected} FROM read_parquet(?) ORDER BY user_id",
            [str(path)],
        ).to_arrow_reader(chunk or CHUNK)
        for batch in batches:
            ids, ats, builts = (_list(batch.column(number)) for number in range(3))
            keys, values = vectors.entity_keys(ids), serialise(batch.select(range(3, batch.num_columns)))
            yield total, list(zip(keys, [feature] * len(keys), values, ats, builts, strict=True))


def _list(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _vectors(batch: Any, catalogue: str) -> list[bytes]:
    matrix = np.empty((batch.num_rows, batch.num_columns))
    for number in range(batch.num_columns):
        matrix[:, number] = batch.column(number).to_numpy(zero_copy_only=False)  # null becomes NaN
    return vectors.pack(matrix, catalogue)


def _texts(batch: Any) -> list[bytes]:
    return [vectors.pack_text(text) for text in batch.column(0).to_pylist()]


def _lists(batch: Any) -> list[bytes]:
    column = batch.column(0)
    doubles = column.values.to_numpy(zero_copy_only=False)
    places = column.offsets.to_pylist()
    return [vectors.pack_list(doubles[start:end].tobytes()) for start, end in pairwise(places)]


_BESIDE = (
    _Beside(online.PROFILE_VIEW, online.PROFILE, "profile", "profiles", _texts, CHUNK),
    _Beside(online.HISTORY_VIEW, online.HISTORY, "history", "histories", _lists, CHUNK // 10),
)
