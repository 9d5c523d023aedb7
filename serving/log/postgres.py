"""The log in PostgreSQL, through psycopg 3: one connection per thread, opened again after the server was away.

A transaction is a pipeline: what nobody looks at goes out with the next question or with the commit, so recording a
decision takes two rounds. Nobody waits longer than ``within_s`` for an answer, and after one that did not come nobody
asks for a moment: whoever has other work must not queue up behind a server that is stuck.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from configs.databases import shown
from configs.errors import LogError
from serving.log.database import ConnectionLost, Row

__all__ = ["PostgresDatabase", "address_of"]

CONNECT_SECONDS = 2  # the least that psycopg knows
PAUSE_SECONDS = 1.0
INTERVAL = 0.1
# A sender that vanished in a transaction must not keep its locks for the two hours of TCP.
LET_GO_SECONDS = 15

_R = TypeVar("_R")
#: Servers that did not answer in time: until when nobody of this process asks them, and what was met.
_stuck: dict[str, tuple[float, str]] = {}


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


class _Connection(psycopg.Connection[Row]):
    """A connection that gives up, for good, when an answer does not come."""

    within_s: float | None = None

    def wait(self, gen: PQGen[_R], interval: float = INTERVAL, timeout: float | None = None) -> _R:
        """What the server answers."""
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.within_s if timeout is None else timeout)
        except psycopg.OperationalError:
            waited = time.monotonic() - began
            if self.within_s is None or waited < 0.95 * self.within_s:  # clocks are rounded
                raise
            self.pgconn.finish()  # its answer may come later: nobody must take it for that of another question
            raise psycopg.OperationalError(f"no answer within {waited:.1f} s") from None


class PostgresTransaction:
    """See `serving.log.database.Transaction`."""

    def __init__(self, connection: psycopg.Connection[Row], pipeline: psycopg.Pipeline) -> None:
        self._connection, self._pipeline = connection, pipeline

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a query gives."""
        return self._connection.execute(_query(sql), values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows a statement changed."""
        cursor = self._connection.execute(_query(sql), values)
        self._pipeline.sync()
        return cursor.rowcount

    def send(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement; what it meets is told later, at the end of the transaction at the latest."""
        self._connection.execute(_query(sql), values)

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row, as `send` does."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_query(sql), rows)


class PostgresDatabase:
    """See `serving.log.database.Database`; ``within_s``: how long an answer may take."""

    def __init__(self, uri: str, within_s: float) -> None:
        self.uri, self.within_s = uri, within_s
        self._local = threading.local()

    def _connection(self) -> _Connection:
        """The connection of this thread, a new one where the old one was cut."""
        local = self._local
        connection: _Connection | None = getattr(local, "connection", None)
        if connection is not None and local.pid == os.getpid():
            if not connection.closed and not local.heard.poll(0) and _idle(connection):
                return connection
            connection.close()
        until, failure = _stuck.get(self.uri, (0.0, ""))
        if time.monotonic() < until:
            raise LogError("the decision log in PostgreSQL cannot be reached", got=failure)
        began = time.monotonic()
        try:
            connection = _Connection.connect(
                address_of(self.uri), autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="userops"
            )
            connection.within_s = self.within_s
            limits = int(1000 * self.within_s), int(1000 * (self.within_s + LET_GO_SECONDS))
            connection.execute(
                f"SET statement_timeout = {limits[0]}; SET idle_in_transaction_session_timeout = {limits[1]}"
            )
        except psycopg.Error as error:
            raise self._failed("reached", error, began) from None
        local.heard = select.poll()
        # The server says nothing unasked but that it ends the connection.
        local.heard.register(connection.fileno(), select.POLLIN)
        local.connection, local.pid = connection, os.getpid()
        return connection

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What one query gives, all from one committed state."""
        return self.ask(sql, values, "read")

    def ask(self, sql: str | bytes, values: Sequence[Any], what: str) -> list[Row]:
        """What one statement gives, which is a transaction by itself; asked again once if the connection was cut.

        ``what`` names in errors what could not be done; a statement that writes must bear being asked twice. As bytes
        it has PostgreSQL's own numbered places.
        """
        for attempt in range(2):
            connection, began = self._connection(), time.monotonic()
            try:
                if isinstance(sql, bytes):
                    return psycopg.RawCursor(connection).execute(sql, values).fetchall()
                return connection.execute(_query(sql), values).fetchall()
            except (psycopg.Error, UnicodeEncodeError) as error:
                if attempt or not connection.closed or self._too_late(began):
                    raise self._failed(what, error, began) from None
        raise AssertionError("the second attempt returns or raises")

    @contextmanager
    def write(self, alone: str = "") -> Iterator[PostgresTransaction]:
        """A transaction that is durable when the block ends; those of the same name take turns."""
        connection, began, committing = self._connection(), time.monotonic(), False
        try:
            try:
                with connection.pipeline() as pipeline:
                    connection.execute(b"BEGIN")
                    if alone:
                        connection.execute(b"SELECT pg_advisory_xact_lock(hashtext(%s))", (f"userops {alone}",))
                    yield PostgresTransaction(connection, pipeline)
                    committing = True
                    connection.execute(b"COMMIT")
            except BaseException:
                if not connection.closed and not _idle(connection):
                    with suppress(psycopg.Error):
                        connection.execute(b"ROLLBACK")
                raise
        except (psycopg.Error, UnicodeEncodeError) as error:
            # Before COMMIT was sent nothing can have been written: whoever wants to may do it all again.
            again = connection.closed and not committing and not self._too_late(began)
            raise self._failed("written", error, began, ConnectionLost if again else LogError) from None

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

    def _too_late(self, began: float) -> bool:
        return time.monotonic() - began >= 0.95 * min(self.within_s, CONNECT_SECONDS)

    def _failed(self, what: str, error: Exception, began: float, kind: type[LogError] = LogError) -> LogError:
        # The address without the password.
        told = f"{shown(self.uri)}: {str(error).strip()}"
        if self._too_late(began):
            _stuck[self.uri] = time.monotonic() + PAUSE_SECONDS, told
        return kind(f"the decision log in PostgreSQL cannot be {what}", got=told)


def _idle(connection: psycopg.Connection[Row]) -> bool:
    return connection.pgconn.transaction_status == TransactionStatus.IDLE
