"""The log in one SQLite file in WAL mode: readers never wait, writers of all processes take turns of well under 1 ms.

``synchronous=NORMAL`` loses nothing when a process is killed; ``?synchronous=FULL`` in the address nothing when power
fails either, for one fsync per transaction.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from configs.errors import LogError
from serving.log.database import Row

__all__ = ["SqliteDatabase", "connection_of", "path_of"]

WAIT_SECONDS = 30.0
# SQLite's own busy handler sleeps whole milliseconds, ten times as long as a turn; these naps grow.
NAP_SECONDS, LONGEST_NAP_SECONDS = 50e-6, 2e-3
REFUSED = (sqlite3.Error, UnicodeEncodeError, OverflowError)  # the last two: what no row can hold
SYNCHRONOUS = ("NORMAL", "FULL")
# Committing and checkpointing at once costs the request an fsync: `checkpoint` does it, this is for when nobody does.
PAGES_BEFORE_CHECKPOINT = 16_384


def path_of(uri: str) -> tuple[Path, str]:
    """The file and the ``synchronous`` that an address names.

    Examples
    --------
    >>> path_of("sqlite:////var/lib/decisions.db?synchronous=full")
    (PosixPath('/var/lib/decisions.db'), 'FULL')
    """
    path, _, query = uri.removeprefix("sqlite:///").partition("?")
    settings = parse_qs(query)
    synchronous = settings.pop("synchronous", ["NORMAL"])[-1].upper()
    if not uri.startswith("sqlite:///") or not path or settings or synchronous not in SYNCHRONOUS:
        raise LogError("not an address of a decision log", got=uri, expected="sqlite:///PATH[?synchronous=NORMAL|FULL]")
    return Path(path), synchronous


def connection_of(path: Path, synchronous: str, wait_s: float) -> sqlite3.Connection:
    """A connection in WAL mode without implicit transactions; the file and its folder are made if need be."""
    connection: sqlite3.Connection | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A connection belongs to one thread; closing may happen in another, when the interpreter ends.
        connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        _use_wal(connection)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BEFORE_CHECKPOINT}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}")
    except (OSError, sqlite3.Error) as error:
        if connection is not None:
            connection.close()
        raise LogError(f"the decision log {path} cannot be opened", got=str(error)) from None
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # SQLite gives up at once when two processes change the mode
            if not _busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(NAP_SECONDS * 40)


class SqliteTransaction:
    """See `serving.log.database.Transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a query gives."""
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows a statement changed."""
        return self._connection.execute(sql, values).rowcount

    def send(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement."""
        self._connection.execute(sql, values)

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row."""
        self._connection.executemany(sql, rows)


class SqliteDatabase:
    """See `serving.log.database.Database`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.path, self.synchronous = path_of(uri)
        self._local = threading.local()

    def _connections(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        local = self._local
        if getattr(local, "pid", None) != os.getpid():  # a connection must not cross a fork
            local.reader = self.connection()
            local.writer = connection_of(self.path, self.synchronous, 0)
            local.pid = os.getpid()
        return local.reader, local.writer

    def connection(self) -> sqlite3.Connection:
        """A new connection to the file."""
        return connection_of(self.path, self.synchronous, WAIT_SECONDS)

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What one query gives, all from one committed state."""
        try:
            return self._connections()[0].execute(sql, values).fetchall()
        except REFUSED as error:
            raise self._failed("read", error) from None

    @contextmanager
    def write(self, alone: str = "") -> Iterator[SqliteTransaction]:
        """A transaction that is durable when the block ends; SQLite has only one at a time, so all are alone."""
        writer = self._connections()[1]
        try:
            _begin(writer)
            try:
                yield SqliteTransaction(writer)
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise
        except REFUSED as error:
            raise self._failed("written", error) from None

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file as far as no reader needs it."""
        with suppress(sqlite3.OperationalError):
            self._connections()[1].execute("PRAGMA wal_checkpoint(PASSIVE)")

    def scrub(self) -> None:
        """Empty the write-ahead log, unless somebody reads for seconds; the file's own deleted rows are zeros."""
        with suppress(sqlite3.OperationalError):
            self._connections()[0].execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connections of the calling thread."""
        if getattr(self._local, "pid", None) == os.getpid():
            for connection in self._connections():
                connection.close()
            self._local.pid = None

    def _failed(self, what: str, error: Exception) -> LogError:
        return LogError(f"the decision log {self.path} cannot be {what}", got=str(error))


def _begin(connection: sqlite3.Connection) -> None:
    nap, deadline = NAP_SECONDS, 0.0
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            now = time.monotonic()
            deadline = deadline or now + WAIT_SECONDS
            if not _busy(error) or now > deadline:
                raise
            time.sleep(nap)
            nap = min(1.2 * nap, LONGEST_NAP_SECONDS)


def _busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
