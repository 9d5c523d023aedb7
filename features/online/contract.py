"""What an online store must do: keep bytes of users, write those of one user at once, and give them back at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from configs.errors import FeatureError

__all__ = [
    "HISTORY",
    "PROFILE",
    "PROJECT",
    "VECTOR",
    "WAIT_SECONDS",
    "Assorted",
    "Cell",
    "Found",
    "OnlineStore",
    "Row",
    "Writer",
    "being_written",
    "nothing",
]

PROJECT = "userops"
WAIT_SECONDS = 120.0  # how long a publication waits for the one before it


class Cell(NamedTuple):
    """One value of a user: a feature of a view, by Feast's names."""

    view: str
    feature: str


VECTOR = Cell("user_vector", "vector")
PROFILE = Cell("user_profile", "profile")
HISTORY = Cell("user_history", "history")

# Key, value, event_ts and created_ts: Feast's serialised bytes, whole seconds since 1970 UTC.
Row = tuple[bytes, bytes, int, int | None]
Found = tuple[bytes, int] | None  # value and event_ts
Assorted = tuple[str, int, list[tuple[Any, ...]], list[tuple[str, bytes, bytes | None]]]  # stamp, as_of, items, stores


class Writer(Protocol):
    """A publication, or a refresh of a few users, while no other one writes."""

    def claim(self, home: Path) -> None:
        """Refuse where another home publishes: its users would go, being in no snapshot of ours."""

    def create(self, view: str) -> None:
        """From now on, who is not in this view is unknown; before, nothing is published."""

    def drop(self, view: str, features: Sequence[str]) -> None:
        """No such view any more."""

    def only(self, cell: Cell, prefix: bytes) -> None:
        """Values of this cell that begin otherwise give way to any, and `drop_older` takes them away."""

    def write(self, rows: Mapping[Cell, Sequence[Row]]) -> dict[Cell, int]:
        """How many rows of each cell were written: those for which nothing newer, by both instants, was there.

        All cells of one user that come in one call are written at once.
        """

    def forget(self, keys: Sequence[bytes]) -> int:
        """Take away all that there is of these users, in every view; how many of them there were."""

    def drop_older(self, than: Mapping[Cell, int]) -> None:
        """Take away the rows from before an ``event_ts``. A snapshot holds everybody, so these users are no more."""

    def record(self, view: str, digest: str, as_of: int, published_at: int, rows: int) -> None:
        """Note which catalogue's rows this publication wrote."""

    def last_publication(self, view: str) -> dict[str, Any] | None:
        """What `record` noted last about a view."""

    def write_assortment(self, assorted: Assorted) -> bool:
        """Whether it was written: it never gives way to an older one."""


class OnlineStore(Protocol):
    """Published rows by key; one instance serves all threads, and processes forked from this one.

    Whatever it cannot do, reach or make sense of is a `FeatureError` without a password in it.
    """

    @property
    def address(self) -> str:
        """Where it is, for people: without a password."""

    def publication(self) -> AbstractContextManager[Writer]:
        """The right to write, which one process has at a time; another one waits for its end."""

    def read(self, keys: Sequence[bytes], cells: Sequence[Cell]) -> list[tuple[Found, ...]]:
        """For each key, in the order asked, what there is in each cell: those of one user from one state of his."""

    def scan(self, cells: Sequence[Cell], size: int) -> Iterator[list[tuple[bytes, tuple[Found, ...]]]]:
        """Everybody who has the first cell, once, some ``size`` at a time; who comes or goes meanwhile may lack."""

    def beginning(self, cell: Cell, start: bytes, most: int) -> list[bytes]:
        """At most ``most`` ids of users with this cell that begin so, shorter ones first, then in the order of bytes.

        In Redis, which has no index, of those that a walk of a moment meets.
        """

    def middle(self, cell: Cell) -> int | None:
        """The median of the rows' ``event_ts`` (in Redis of a sample); None where there are none."""

    def last_publication(self, view: str) -> dict[str, Any] | None:
        """What `Writer.record` noted last about a view; None before the first publication."""

    def assortment_stamp(self) -> str | None:
        """The stamp of the assortment; None before the first publication."""

    def assortment(self) -> Assorted:
        """The whole assortment, from one state."""

    def erase(self) -> None:
        """Nothing is published any more."""

    def close(self) -> None:
        """Let go of the calling thread's connections."""


def nothing(address: str, got: str | None = None) -> FeatureError:
    """The refusal to read where nothing was published; its first line, which strangers are told, names no address."""
    told = address if got is None else f"{address}: {got}"
    return FeatureError("nothing is published", got=told, run="userops features publish")


def being_written(address: str, got: str) -> FeatureError:
    """The refusal to write where another publication does."""
    return FeatureError(
        f"{address} is being written by another publication",
        got=got,
        expected=f"its end within {WAIT_SECONDS:.0f} s",
        run="it again",
    )
