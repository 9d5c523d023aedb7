"""The online store file: published rows under Feast's own table, keys and bytes, without importing Feast.

One SQLite file in WAL mode. A publication is one transaction, so a reader, who asks in one statement, sees the rows of
before or of after it; a publication killed half-way leaves those of before. A row never gives way to an older one.

Tables are Feast's (``<project>_<view>``): entity_key, feature_name, value, event_ts and created_ts, in whole seconds
since 1970 UTC. Table ``publications`` says of each view who wrote it last.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from configs.errors import FeatureError
from features import vectors

__all__ = [
    "HISTORY_VIEW",
    "PROFILE_VIEW",
    "PROJECT",
    "VECTOR_VIEW",
    "OnlineReader",
    "OnlineVectors",
    "check_publication",
    "create",
    "drop",
    "keep_prefix",
    "last_publication",
    "path_of",
    "publication",
    "read_vectors",
    "record",
    "table_of",
    "upsert",
]

PROJECT = "userops"
VECTOR_VIEW, VECTOR = "user_vector", "vector"
PROFILE_VIEW, PROFILE = "user_profile", "profile"
HISTORY_VIEW, HISTORY = "user_history", "history"
WAIT_SECONDS = 120.0  # how long a publication waits for the one before it
MOST_PARAMETERS = 30_000  # SQLite takes 32,766 in one statement

Row = tuple[bytes, str, bytes, int, int | None]  # key, feature, value, event_ts, created_ts


def path_of(home: Path) -> Path:
    """The file in a home folder."""
    return home / "online.db"


def table_of(view: str) -> str:
    """The table in which Feast keeps a view.

    Examples
    --------
    >>> table_of("user_vector")
    'userops_user_vector'
    """
    return f"{PROJECT}_{view}"


@contextmanager
def publication(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that readers see whole or not at all; another publication waits for its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a crash of the process loses nothing, one of power the last
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise FeatureError(
                f"{path} is being written by another publication",
                got=str(error),
                expected=f"its end within {WAIT_SECONDS:.0f} s",
                run="it again",
            ) from None
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        # Gives the disk back, unless a reader still holds the old state: nobody waits for it.
        connection.execute("PRAGMA busy_timeout = 0")
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def create(connection: sqlite3.Connection, table: str) -> None:
    """Feast's table for a view, unless it is there; without Feast's second index, which repeats the primary key."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_name(table)} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, "
        "vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY KEY (entity_key, feature_name))"
    )


def drop(connection: sqlite3.Connection, table: str) -> None:
    """No such table any more."""
    connection.execute(f"DROP TABLE IF EXISTS {_name(table)}")


def upsert(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> int:
    """How many rows were written: those for which nothing newer, by ``(event_ts, created_ts)``, was there."""
    before = connection.total_changes
    connection.executemany(
        f"INSERT INTO {_name(table)} AS old (entity_key, feature_name, value, event_ts, created_ts) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value, "
        "value_text = NULL, vector_value = NULL, event_ts = excluded.event_ts, created_ts = excluded.created_ts "
        "WHERE (excluded.event_ts, coalesce(excluded.created_ts, 0)) >= (old.event_ts, coalesce(old.created_ts, 0))",
        rows,
    )
    return connection.total_changes - before


def keep_prefix(connection: sqlite3.Connection, table: str, prefix: bytes) -> None:
    """Delete the rows whose value begins otherwise."""
    connection.execute(f"DELETE FROM {_name(table)} WHERE substr(value, 1, ?) <> ?", (len(prefix), prefix))


def drop_older(connection: sqlite3.Connection, table: str, event_ts: int) -> int:
    """Delete the rows from before ``event_ts``; how many. A snapshot holds everybody, so these users are no more."""
    return connection.execute(f"DELETE FROM {_name(table)} WHERE event_ts < ?", (event_ts,)).rowcount


def record(connection: sqlite3.Connection, view: str, digest: str, as_of: int, published_at: int, rows: int) -> None:
    """Note which catalogue's rows this publication wrote."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS publications "
        "(view TEXT PRIMARY KEY, digest TEXT, as_of INTEGER, published_at INTEGER, rows_written INTEGER)"
    )
    connection.execute("REPLACE INTO publications VALUES (?, ?, ?, ?, ?)", (view, digest, as_of, published_at, rows))


def last_publication(connection: sqlite3.Connection, view: str) -> dict[str, Any] | None:
    """What `record` noted last about a view."""
    try:
        cursor = connection.execute("SELECT * FROM publications WHERE view = ?", (view,))
    except sqlite3.OperationalError:
        return None  # nothing was published yet
    row = cursor.fetchone()
    return None if row is None else dict(zip((column[0] for column in cursor.description), row, strict=True))


class OnlineReader:
    """Reads published rows by key; one instance serves all threads, and processes forked from this one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    @property
    def connection(self) -> sqlite3.Connection:
        """The read-only connection of the calling thread."""
        if getattr(self._local, "pid", None) != os.getpid():
            try:
                self._local.connection = sqlite3.connect(
                    f"file:{quote(str(self.path))}?mode=ro", uri=True, isolation_level=None, timeout=30.0
                )
            except sqlite3.OperationalError as error:
                raise self.nothing(str(error)) from None
            self._local.pid = os.getpid()
        connection: sqlite3.Connection = self._local.connection
        return connection

    def read(
        self, table: str, keys: Sequence[bytes], feature: str | None = None
    ) -> list[tuple[bytes, str, bytes, int]]:
        """``(key, feature, value, event_ts)`` of every row there is for ``keys``, all from one state of the store."""
        connection = self.connection
        if len(keys) <= MOST_PARAMETERS:
            return self._select(connection, table, keys, feature)
        connection.execute("BEGIN")
        try:
            starts = range(0, len(keys), MOST_PARAMETERS)
            parts = (
                self._select(connection, table, keys[start : start + MOST_PARAMETERS], feature) for start in starts
            )
            return [row for part in parts for row in part]
        finally:
            connection.execute("COMMIT")

    def _select(
        self, connection: sqlite3.Connection, table: str, keys: Sequence[bytes], feature: str | None
    ) -> list[tuple[bytes, str, bytes, int]]:
        only = "" if feature is None else " AND feature_name = ?"
        sql = (
            f"SELECT entity_key, feature_name, value, event_ts FROM {_name(table)} "
            f"WHERE entity_key IN ({','.join('?' * len(keys))}){only}"
        )
        try:
            return connection.execute(sql, (*keys, *(() if feature is None else (feature,)))).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise self.nothing(str(error)) from None
            raise

    def close(self) -> None:
        """Close this thread's connection."""
        if getattr(self._local, "pid", None) == os.getpid():
            self._local.connection.close()
            self._local.pid = None

    def nothing(self, got: str) -> FeatureError:
        """The refusal to read where nothing was published."""
        return FeatureError(f"nothing is published in {self.path}", got=got, run="userops features publish")


@dataclass(frozen=True)
class OnlineVectors:
    """What is published about some users: ``values[i]`` in catalogue order, NaN where absent.

    A user of whom nothing is published has ``found`` False, a row of NaN and ``as_of`` NaT.
    """

    values: npt.NDArray[np.float64]
    found: npt.NDArray[np.bool_]
    as_of: npt.NDArray[np.datetime64]


def read_vectors(reader: OnlineReader, user_ids: Sequence[str], features: int, digest: str) -> OnlineVectors:
    """The vectors of ``user_ids``, in their order, all from one state of the store."""
    keys = vectors.entity_keys(user_ids)
    rows = reader.read(table_of(VECTOR_VIEW), keys, VECTOR)
    values = vectors.unpack([row[2] for row in rows], features, digest)
    as_of = np.array([row[3] for row in rows], dtype="datetime64[s]").astype("datetime64[us]")
    if len(rows) == len(keys) and all(row[0] == key for row, key in zip(rows, keys, strict=True)):
        return OnlineVectors(values, np.ones(len(keys), dtype=np.bool_), as_of)
    place = {row[0]: number for number, row in enumerate(rows)}
    places = np.array([place.get(key, len(rows)) for key in keys], dtype=np.intp)
    found = places < len(rows)
    if not found.all():
        # Not there means unknown, unless what is there belongs to another catalogue.
        check_publication(reader.connection, digest)
    values = np.vstack([values, np.full((1, features), np.nan)])
    as_of = np.append(as_of, np.datetime64("NaT"))
    return OnlineVectors(values[places], found, as_of[places])


def check_publication(connection: sqlite3.Connection, digest: str) -> None:
    """Refuse when the vectors were published last from another catalogue."""
    last = last_publication(connection, VECTOR_VIEW)
    if last is not None and last["digest"] != digest:
        raise vectors.mismatch(str(last["digest"]), digest)


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
