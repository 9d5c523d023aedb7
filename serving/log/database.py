"""What the log needs of a database: one-statement reads, short write transactions, the same SQL for both kinds.

SQL is written once, with ``?`` for a value and nothing that only one of the two understands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from configs.databases import is_postgres
from configs.errors import LogError

__all__ = ["PATIENT_SECONDS", "ConnectionLost", "Database", "Row", "Transaction", "again", "connect", "marks"]

PATIENT_SECONDS = 60.0  # how long commands wait for an answer of a server; whoever serves waits less
Row = tuple[Any, ...]
_T = TypeVar("_T")


class ConnectionLost(LogError):
    """The connection was cut before anything was committed: the same once more writes nothing twice."""


class Transaction(Protocol):
    """The inside of one write transaction."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a query gives."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows a statement changed."""

    def send(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement of which nobody looks at the outcome."""

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row."""


class Database(Protocol):
    """One database; an instance serves all threads, each with connections of its own."""

    uri: str

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What one query gives, all from one committed state."""

    def write(self, alone: str = "") -> AbstractContextManager[Transaction]:
        """A transaction that is durable when the block ends and undone when it raises.

        Blocks of the same name in ``alone`` run one after the other, in whatever processes.
        """

    def checkpoint(self) -> None:
        """Let the write-ahead log not grow, without making anybody wait."""

    def scrub(self) -> None:
        """Let what was deleted not lie about in files."""

    def close(self) -> None:
        """Close the connections of the calling thread."""


def connect(uri: str, within_s: float = PATIENT_SECONDS) -> Database:
    """The database at ``sqlite:///PATH[?synchronous=FULL]`` or ``postgresql[+psycopg]://...``.

    ``within_s``: how long the answer of a server may take.

    Examples
    --------
    >>> connect("redis://localhost")
    Traceback (most recent call last):
    configs.errors.LogError: the decision log cannot be kept there
      got: redis
      expected: sqlite:///PATH or postgresql://...
    """
    kind = uri.partition(":")[0]
    if kind == "sqlite":
        from serving.log.sqlite import SqliteDatabase

        return SqliteDatabase(uri)
    if is_postgres(uri):
        from serving.log.postgres import PostgresDatabase

        return PostgresDatabase(uri, within_s)
    raise LogError("the decision log cannot be kept there", got=kind, expected="sqlite:///PATH or postgresql://...")


def again(write: Callable[[], _T]) -> _T:
    """What ``write`` gives, tried once more when the connection was cut on the way."""
    try:
        return write()
    except ConnectionLost:
        return write()


def marks(values: Sequence[Any]) -> str:
    """A place for each value.

    Examples
    --------
    >>> marks("abc")
    '?, ?, ?'
    """
    return ", ".join("?" * len(values))
