"""What a publication does in the SQLite file: all of it lies in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from features.online.contract import PROJECT, Assorted, Cell, Row

__all__ = ["SqliteWriter", "last_publication", "literal", "table_of"]

_ASSORTMENT = """
CREATE TABLE IF NOT EXISTS assortment (only INTEGER PRIMARY KEY CHECK (only = 1), stamp TEXT, as_of INTEGER);
CREATE TABLE IF NOT EXISTS assortment_items (
    place INTEGER PRIMARY KEY, item_id TEXT, category_id TEXT, name TEXT, price REAL, margin REAL, stock REAL,
    is_slow_moving INTEGER, valid_from INTEGER, valid_to INTEGER);
CREATE TABLE IF NOT EXISTS assortment_stores (store_id TEXT PRIMARY KEY, places BLOB, stock BLOB);
"""


def table_of(view: str) -> str:
    """The table in which Feast keeps a view, quoted.

    Examples
    --------
    >>> table_of("user_vector")
    '"userops_user_vector"'
    """
    return _quoted(f"{PROJECT}_{view}")


class SqliteWriter:
    """See `features.online.contract.Writer`; everything lies in the transaction of ``connection``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def claim(self, home: Path) -> None:
        """The file lies in the home: it is nobody else's."""

    def create(self, view: str) -> None:
        """Feast's table, unless it is there; without Feast's second index, which repeats the primary key."""
        self.connection.execute(
            f"CREATE TABLE IF NOT EXISTS {table_of(view)} (entity_key BLOB, feature_name TEXT, value BLOB, "
            "value_text TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp, "
            "PRIMARY KEY (entity_key, feature_name))"
        )

    def drop(self, view: str, features: Sequence[str]) -> None:
        """No such table any more."""
        self.connection.execute(f"DROP TABLE IF EXISTS {table_of(view)}")

    def only(self, cell: Cell, prefix: bytes) -> None:
        """They go at once: nobody sees it before the end."""
        self.connection.execute(
            f"DELETE FROM {table_of(cell.view)} WHERE substr(value, 1, ?) <> ?", (len(prefix), prefix)
        )

    def write(self, rows: Mapping[Cell, Sequence[Row]]) -> dict[Cell, int]:
        """How many rows of each cell were written."""
        written = {}
        for cell, those in rows.items():
            before = self.connection.total_changes
            self.connection.executemany(
                f"INSERT INTO {table_of(cell.view)} AS old (entity_key, feature_name, value, event_ts, created_ts) "
                f"VALUES (?, {literal(cell)}, ?, ?, ?) ON CONFLICT (entity_key, feature_name) DO UPDATE SET "
                "value = excluded.value, value_text = NULL, vector_value = NULL, event_ts = excluded.event_ts, "
                "created_ts = excluded.created_ts WHERE (excluded.event_ts, coalesce(excluded.created_ts, 0)) >= "
                "(old.event_ts, coalesce(old.created_ts, 0))",
                those,
            )
            written[cell] = self.connection.total_changes - before
        return written

    def forget(self, keys: Sequence[bytes]) -> int:
        """Delete their rows."""
        named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ?"
        tables = [_quoted(row[0]) for row in self.connection.execute(named, (f"{PROJECT}_*",)).fetchall()]
        found = set[bytes]()
        for key in keys:
            for table in tables:
                if self.connection.execute(f"DELETE FROM {table} WHERE entity_key = ?", (key,)).rowcount:
                    found.add(key)
        return len(found)

    def drop_older(self, than: Mapping[Cell, int]) -> None:
        """Delete them."""
        for cell, event_ts in than.items():
            self.connection.execute(f"DELETE FROM {table_of(cell.view)} WHERE event_ts < ?", (event_ts,))

    def record(self, view: str, digest: str, as_of: int, published_at: int, rows: int) -> None:
        """Note which catalogue's rows this publication wrote."""
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS publications "
            "(view TEXT PRIMARY KEY, digest TEXT, as_of INTEGER, published_at INTEGER, rows_written INTEGER)"
        )
        values = (view, digest, as_of, published_at, rows)
        self.connection.execute("REPLACE INTO publications VALUES (?, ?, ?, ?, ?)", values)

    def last_publication(self, view: str) -> dict[str, Any] | None:
        """What was recorded last about a view."""
        return last_publication(self.connection, view)

    def write_assortment(self, assorted: Assorted) -> bool:
        """Whether it was written."""
        stamp, as_of, items, stores = assorted
        for statement in _ASSORTMENT.split(";"):
            self.connection.execute(statement)  # executescript would end the transaction
        before = self.connection.execute("SELECT stamp, as_of FROM assortment").fetchone()
        if before is not None and before[1] > as_of:
            return False
        self.connection.execute("REPLACE INTO assortment VALUES (1, ?, ?)", (stamp, as_of))
        if before is not None and before[0] == stamp:
            return True
        tables: tuple[tuple[str, int, Sequence[tuple[Any, ...]]], ...]
        tables = (("assortment_items", 10, items), ("assortment_stores", 3, stores))
        for table, width, rows in tables:
            self.connection.execute(f"DELETE FROM {table}")
            self.connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", rows)
        return True


def last_publication(connection: sqlite3.Connection, view: str) -> dict[str, Any] | None:
    """What was recorded last about a view."""
    try:
        cursor = connection.execute("SELECT * FROM publications WHERE view = ?", (view,))
    except sqlite3.OperationalError:
        return None  # nothing was published yet
    row = cursor.fetchone()
    return None if row is None else dict(zip((column[0] for column in cursor.description), row, strict=True))


def literal(cell: Cell) -> str:
    """The name of a feature as SQL text."""
    return "'" + cell.feature.replace("'", "''") + "'"


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
