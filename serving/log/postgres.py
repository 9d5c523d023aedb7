"""The log in PostgreSQL, through psycopg 3: one connection per thread, opened again after the server was away."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import psycopg

from configs.errors import LogError
from serving.log.database import Row

__all__ = ["PostgresDatabase", "address_of"]

CONNECT_SECONDS = 10


def address_of(uri: str) -> str:
    """The address as libpq writes it.

    Examples
    --------
    >>> address_of("postgresql+psycopg://userops@db/log")
    'postgresql://userops@db/log'
    """
    return "postgresql://" + uri.partition("://")[2]


@lru_cache(maxsize=1024)
def _query(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


class PostgresTransaction:
    """See `serving.log.database.Transaction`."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a query gives."""
        return self._connection.execute(_query(sql), values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows a statement changed."""
        return self._connection.execute(_query(sql), values).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row, in one round."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_query(sql), rows)


class PostgresDatabase:
    """See `serving.log.database.Database`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._local = threading.local()

    def _connection(self) -> psycopg.Connection[Row]:
        local = self._local
        connection: psycopg.Connection[Row] | None = getattr(local, "connection", None)
        if connection is None or local.pid != os.getpid() or connection.closed:
            try:
                connection = psycopg.connect(
                    address_of(self.uri), autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="userops"
                )
            except psycopg.Error as error:
                raise _failed("reached", error) from None
            local.connection, local.pid = connection, os.getpid()
        return connection

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What one query gives, all from one committed state; asked again once if the connection had been cut."""
        for attempt in range(2):
            connection = self._connection()
            try:
                return connection.execute(_query(sql), values).fetchall()
            except (psycopg.Error, UnicodeEncodeError) as error:
                if attempt or not connection.closed:
                    raise _failed("read", error) from None
        raise AssertionError("the second attempt returns or raises")

    @contextmanager
    def write(self, alone: str = "") -> Iterator[PostgresTransaction]:
        """A transaction that is durable when the block ends; those of the same name take turns."""
        try:
            connection = self._begin()
            try:
                if alone:
                    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"userops {alone}",))
                yield PostgresTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
                raise
        except (psycopg.Error, UnicodeEncodeError) as error:
            raise _failed("written", error) from None

    def _begin(self) -> psycopg.Connection[Row]:
        connection = self._connection()
        try:
            connection.execute("BEGIN")
        except psycopg.OperationalError:
            if not connection.closed:
                raise
            connection = self._connection()  # it had been cut; nothing was written yet, so once more
            connection.execute("BEGIN")
        return connection

    def checkpoint(self) -> None:
        """PostgreSQL does that itself."""

    def scrub(self) -> None:
        """PostgreSQL's autovacuum does that in its time."""

    def close(self) -> None:
        """Close the connection of the calling thread."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()
        self._local.connection = None


def _failed(what: str, error: Exception) -> LogError:
    # The address may hold a password, so it is not told.
    return LogError(f"the decision log in PostgreSQL cannot be {what}", got=str(error).strip())
