"""The embedded online store: one SQLite file in WAL mode, a publication one transaction.

Tables are Feast's (``<project>_<view>``): entity_key, feature_name, value, event_ts and created_ts. A reader asks in
one statement, so he sees the rows of before or of after a publication; killed half-way, it leaves those of before.
Table ``publications`` says of each view who wrote it last; the assortment is three small tables.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from features import vectors
from features.online import contract
from features.online.contract import Assorted, Cell, Found, being_written, nothing
from features.online.sqlite_writer import SqliteWriter, last_publication, literal, table_of

__all__ = ["SqliteStore"]

MOST_PARAMETERS = 30_000  # SQLite takes 32,766 in one statement
LONGEST_ID = 128  # bytes; no longer id can be asked for by how it begins


class SqliteStore:
    """See `features.online.contract.OnlineStore`; one connection for each thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    @property
    def address(self) -> str:
        """The path of the file."""
        return str(self.path)

    @property
    def connection(self) -> sqlite3.Connection:
        """The read-only connection of the calling thread."""
        if getattr(self._local, "pid", None) != os.getpid():
            try:
                self._local.connection = sqlite3.connect(
                    f"file:{quote(str(self.path))}?mode=ro", uri=True, isolation_level=None, timeout=30.0
                )
            except sqlite3.OperationalError as error:
                raise nothing(self.address, str(error)) from None
            self._local.pid = os.getpid()
        connection: sqlite3.Connection = self._local.connection
        return connection

    @contextmanager
    def publication(self) -> Iterator[SqliteWriter]:
        """A transaction that readers see whole or not at all; another publication waits for its end."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=contract.WAIT_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # a crash loses nothing, one of power the last
            connection.execute("PRAGMA secure_delete = ON")  # of who is gone no page tells
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise being_written(self.address, str(error)) from None
            try:
                yield SqliteWriter(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite ends it itself where the disk is full
                    connection.execute("ROLLBACK")
                raise
            # Gives the disk back, unless a reader still holds the old state: nobody waits for it.
            connection.execute("PRAGMA busy_timeout = 0")
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    def read(self, keys: Sequence[bytes], cells: Sequence[Cell]) -> list[tuple[Found, ...]]:
        """All from one state of the store."""
        connection = self.connection
        if len(keys) <= MOST_PARAMETERS:
            return self._select(connection, keys, cells)
        connection.execute("BEGIN")
        try:
            starts = range(0, len(keys), MOST_PARAMETERS)
            parts = (self._select(connection, keys[start : start + MOST_PARAMETERS], cells) for start in starts)
            return [row for part in parts for row in part]
        finally:
            connection.execute("COMMIT")

    def _select(
        self, connection: sqlite3.Connection, keys: Sequence[bytes], cells: Sequence[Cell]
    ) -> list[tuple[Found, ...]]:
        rows = self._ask(connection, _select_sql(len(keys), tuple(cells)), keys)
        if len(rows) == len(keys) and all(row[0] == key for row, key in zip(rows, keys, strict=True)):
            return [_cells(row) for row in rows]
        place = {row[0]: row for row in rows}
        return [_cells(place[key]) for key in keys]

    def _ask(self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise nothing(self.address, str(error)) from None
            raise

    def scan(self, cells: Sequence[Cell], size: int) -> Iterator[list[tuple[bytes, tuple[Found, ...]]]]:
        """In the order of the keys."""
        first, *others = cells
        sql = (
            f"SELECT c0.entity_key, {_values(cells)} FROM {table_of(first.view)} AS c0 {_joins('c0', others, 1)} "
            f"WHERE c0.feature_name = {literal(first)} AND c0.entity_key > ? ORDER BY c0.entity_key LIMIT ?"
        )
        after = b""
        while rows := self._ask(self.connection, sql, (after, size)):
            after = rows[-1][0]
            yield [(row[0], _cells(row)) for row in rows]

    def beginning(self, cell: Cell, start: bytes, most: int) -> list[bytes]:
        """A key holds the length of the id and then the id, so that each length is one range of the index."""
        before, found = vectors.entity_keys([""])[0][:-4], list[bytes]()
        sql = (
            f"SELECT entity_key FROM {table_of(cell.view)} WHERE entity_key >= ? AND entity_key < ? "
            "ORDER BY entity_key LIMIT ?"
        )
        for length in range(max(1, len(start)), LONGEST_ID + 1):
            head, rest = before + length.to_bytes(4, "little") + start, length - len(start)
            between = (head + b"\x00" * rest, head + b"\xff" * (rest + 1), most - len(found))
            found += [row[0][len(before) + 4 :] for row in self._ask(self.connection, sql, between)]
            if len(found) == most:
                break
        return found

    def middle(self, cell: Cell) -> int | None:
        """The exact median."""
        connection, table = self.connection, table_of(cell.view)
        count = self._ask(connection, f"SELECT count(*) FROM {table}")[0][0]
        sql = f"SELECT event_ts FROM {table} ORDER BY event_ts LIMIT 1 OFFSET ?"
        rows = self._ask(connection, sql, (count // 2,))
        return int(rows[0][0]) if rows else None

    def last_publication(self, view: str) -> dict[str, Any] | None:
        """What was recorded last about a view."""
        return last_publication(self.connection, view)

    def assortment_stamp(self) -> str | None:
        """One indexed read."""
        connection = self.connection
        try:
            row = connection.execute("SELECT stamp FROM assortment").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        return None if row is None else str(row[0])

    def assortment(self) -> Assorted:
        """From one transaction."""
        connection = self.connection
        connection.execute("BEGIN")
        try:
            found = self._ask(connection, "SELECT stamp, as_of FROM assortment")
            if not found:
                raise nothing(self.address)
            items = self._ask(connection, "SELECT * FROM assortment_items ORDER BY place")
            stores = [(one[0], one[1], one[2]) for one in self._ask(connection, "SELECT * FROM assortment_stores")]
        finally:
            connection.execute("COMMIT")
        return found[0][0], found[0][1], items, stores

    def erase(self) -> None:
        """No file any more."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Close this thread's connection."""
        if getattr(self._local, "pid", None) == os.getpid():
            self._local.connection.close()
            self._local.pid = None


@lru_cache(maxsize=8)
def _select_sql(keys: int, cells: tuple[Cell, ...]) -> str:
    if keys == 1:
        asked = "(SELECT ? AS entity_key)"
    else:
        asked = f"(SELECT column1 AS entity_key FROM (VALUES {','.join(['(?)'] * keys) or '(NULL)'}))"
    return f"SELECT asked.entity_key, {_values(cells)} FROM {asked} AS asked {_joins('asked', cells, 0)}"


def _joins(to: str, cells: Sequence[Cell], start: int) -> str:
    return " ".join(
        f"LEFT JOIN {table_of(cell.view)} AS c{n} ON c{n}.entity_key = {to}.entity_key "
        f"AND c{n}.feature_name = {literal(cell)}"
        for n, cell in enumerate(cells, start)
    )


def _values(cells: Sequence[Cell]) -> str:
    return ", ".join(f"c{n}.value, c{n}.event_ts" for n in range(len(cells)))


def _cells(row: tuple[Any, ...]) -> tuple[Found, ...]:
    return tuple(None if row[n] is None else (row[n], row[n + 1]) for n in range(1, len(row), 2))
