"""Publication: a snapshot file becomes the rows that the service reads, all of one user at once, in bounded memory."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
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


@dataclass(frozen=True)
class _Column:
    """What becomes one cell: a snapshot file, its columns, and how they become bytes."""

    cell: online.Cell
    told: str
    file: Path
    columns: tuple[str, ...]
    serialise: Callable[[Any], list[bytes]]
    chunk: int


@dataclass(frozen=True)
class _Chunk:
    """The next rows of a column, in the order of ``ids``; the file has ``total``."""

    total: int
    ids: list[str]
    rows: list[online.Row]


def publish(config: Config, as_of: datetime, progress: Progress | None = None) -> Publication:
    """Put the newest snapshot at or before ``as_of``, the newest profiles, histories and assortment, online.

    A snapshot holds everybody whose events we have: whoever is online from before it and not in it is gone, and goes.
    """
    started = time.monotonic()
    catalogue = digest()
    at, path = snapshots.newest(config, "user", as_of)
    snapshots.check_catalogue(path, NAMES, catalogue)
    offered = read_assortment(config, at)  # before anything is written: nobody waits for it
    columns, stays = [_vector_column(path, NAMES, catalogue)], {online.VECTOR: int(at.timestamp())}
    for cell, table, told, serialise, chunk in _BESIDE:
        for then, file in [found for found in snapshots.snapshots(config, table) if found[0] <= as_of][-1:]:
            columns.append(_Column(cell, told, file, (cell.feature,), serialise, chunk))
            stays[cell] = int(then.timestamp())
    with online.open_store(config.online_uri).publication() as writer:
        writer.claim(config.home)
        for cell in (online.VECTOR, *(one[0] for one in _BESIDE)):
            writer.create(cell.view)
        users, written = _write(config, writer, columns, NAMES, catalogue, progress)
        write_assortment(writer, offered, int(at.timestamp()))
        writer.drop_older(stays)
        vectors_written = written[online.VECTOR]
        if vectors_written:
            now = int(time.time())
            writer.record(online.VECTOR.view, catalogue, int(at.timestamp()), now, vectors_written)
    beside = sum(written.values()) - vectors_written
    return Publication(
        as_of=at,
        users=users,
        rows_written=vectors_written + beside,
        values_written=vectors_written * len(NAMES) + beside,
        skipped_older=users - vectors_written,
        profiles=written.get(online.PROFILE, 0),
        histories=written.get(online.HISTORY, 0),
        items=len(offered.items),
        seconds=time.monotonic() - started,
        digest=catalogue,
    )


def write_vectors(
    config: Config, writer: online.Writer, path: Path, names: tuple[str, ...], catalogue: str
) -> tuple[int, int]:
    """How many users a snapshot file has, and for how many of them its vector was written."""
    writer.create(online.VECTOR.view)
    users, written = _write(config, writer, [_vector_column(path, names, catalogue)], names, catalogue)
    return users, written[online.VECTOR]


def _write(
    config: Config,
    writer: online.Writer,
    columns: Sequence[_Column],
    names: tuple[str, ...],
    catalogue: str,
    progress: Progress | None = None,
) -> tuple[int, dict[online.Cell, int]]:
    """How many users have a vector, and how many rows of each cell were written."""
    from features import asof

    last = writer.last_publication(online.VECTOR.view)
    if last is not None and last["digest"] != catalogue:
        # Nobody can read vectors of another catalogue any more: they must not outlive their users.
        writer.only(online.VECTOR, vectors.prefix(len(names), catalogue))
    written, behind = {one.cell: 0 for one in columns}, {one.cell: 0 for one in columns}
    with asof.connect(config.memory_limit, config.threads, str(config.home / "tmp")) as connection:
        for part in _together([_chunks(connection, column) for column in columns]):
            rows = {column.cell: chunk.rows for column, chunk in zip(columns, part, strict=True) if chunk is not None}
            for cell, count in writer.write(rows).items():
                written[cell] += count
            for column, chunk in zip(columns, part, strict=True):
                if chunk is not None:
                    behind[column.cell] += len(chunk.rows)
                    if progress:
                        progress(column.told, behind[column.cell] / chunk.total)
    return behind[online.VECTOR], written


def _together(columns: Sequence[Iterator[_Chunk]]) -> Iterator[list[_Chunk | None]]:
    """The rows of one stretch of users after another: all that there is of one user comes in the same turn."""
    held = [next(column, None) for column in columns]
    while last := [one.ids[-1] for one in held if one is not None]:
        end, turn = min(last), list[_Chunk | None]()
        for place, one in enumerate(held):
            count = 0 if one is None else bisect_right(one.ids, end)
            if one is None or count == 0:
                turn.append(None)
                continue
            turn.append(_Chunk(one.total, one.ids[:count], one.rows[:count]))
            more = count < len(one.ids)
            held[place] = _Chunk(one.total, one.ids[count:], one.rows[count:]) if more else next(columns[place], None)
        yield turn


def _chunks(connection: Any, column: _Column) -> Iterator[_Chunk]:
    """The rows of a snapshot in the order of the users (a B-tree grows twice as fast), a chunk at a time.

    Vectors are built in that order and are read as they lie; only what lies otherwise is sorted, which takes memory.
    """
    cursor = connection.cursor()
    cursor.execute("SET TimeZone = 'UTC'")
    selected = ", ".join('"' + name.replace('"', '""') + '"' for name in column.columns)
    total = cursor.execute("SELECT count(*) FROM read_parquet(?)", [str(column.file)]).fetchall()[0][0]
    batches = cursor.execute(
        "SELECT user_id, epoch_us(as_of::TIMESTAMPTZ) // 1000000, epoch_us(built_at::TIMESTAMPTZ) // 1000000, "
        f"{selected} FROM read_parquet(?) {'' if _in_order(cursor, column.file) else 'ORDER BY user_id'}",
        [str(column.file)],
    ).to_arrow_reader(column.chunk)
    for batch in batches:
        if batch.num_rows:
            ids, ats, builts = (_list(batch.column(number)) for number in range(3))
            keys, values = vectors.entity_keys(ids), column.serialise(batch.select(range(3, batch.num_columns)))
            yield _Chunk(total, ids, list(zip(keys, values, ats, builts, strict=True)))


def _in_order(cursor: Any, file: Path) -> bool:
    """Whether every user of the file stands behind the one before."""
    ids = "SELECT user_id, lag(user_id) OVER () AS before FROM read_parquet(?)"
    return not cursor.execute(f"SELECT 1 FROM ({ids}) WHERE before >= user_id LIMIT 1", [str(file)]).fetchall()


def _list(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _vector_column(path: Path, names: tuple[str, ...], catalogue: str) -> _Column:
    def serialise(batch: Any) -> list[bytes]:
        matrix = np.empty((batch.num_rows, batch.num_columns))
        for number in range(batch.num_columns):
            matrix[:, number] = batch.column(number).to_numpy(zero_copy_only=False)  # null becomes NaN
        return vectors.pack(matrix, catalogue)

    return _Column(online.VECTOR, "vectors", path, names, serialise, CHUNK)


def _texts(batch: Any) -> list[bytes]:
    return [vectors.pack_text(text) for text in batch.column(0).to_pylist()]


def _lists(batch: Any) -> list[bytes]:
    column = batch.column(0)
    doubles = column.values.to_numpy(zero_copy_only=False)
    places = column.offsets.to_pylist()
    return [vectors.pack_list(doubles[start:end].tobytes()) for start, end in pairwise(places)]


_BESIDE = (
    (online.PROFILE, "profile", "profiles", _texts, CHUNK),
    (online.HISTORY, "history", "histories", _lists, CHUNK // 10),
)
