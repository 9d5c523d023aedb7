"""The online store: published bytes of users, under Feast's own keys and values, without importing Feast.

Two stores keep one contract (`features.online.contract`): a file of SQLite in the home, and a Redis. What is published
of one user is written at once and read at once, so a reader sees one publication's state of him, never half of it; a
row never gives way to an older one. In the file a whole publication is one transaction besides: a reader sees all users
as before or as after it, and one that is killed leaves those of before. In Redis the users come one after another, and
one that is killed leaves some as of before and some as of after; running it again completes it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from features.online.contract import (
    HISTORY,
    PROFILE,
    PROJECT,
    VECTOR,
    Cell,
    Found,
    OnlineStore,
    Row,
    Writer,
)
from features.online.read import OnlineVectors, check_publication, read_vectors
from features.online.sqlite_store import SqliteStore

__all__ = [
    "HISTORY",
    "PROFILE",
    "PROJECT",
    "VECTOR",
    "Cell",
    "Found",
    "OnlineStore",
    "OnlineVectors",
    "Row",
    "SqliteStore",
    "Writer",
    "check_publication",
    "open_store",
    "path_of",
    "read_vectors",
]


def path_of(home: Path) -> Path:
    """The file of the embedded store in a home folder."""
    return home / "online.db"


def open_store(uri: str) -> OnlineStore:
    """The store at ``Config.online_uri``; nothing is contacted before the first use.

    Examples
    --------
    >>> open_store("sqlite:////tmp/online.db").address
    '/tmp/online.db'
    """
    if uri.startswith("sqlite:///"):
        return SqliteStore(Path(uri.removeprefix("sqlite:///")))
    return _redis(uri)


@lru_cache(maxsize=64)
def _redis(uri: str) -> OnlineStore:
    """One pool of connections for a process; whoever does not reach the server says so to all."""
    from features.online.redis_store import RedisStore

    return RedisStore(uri)
