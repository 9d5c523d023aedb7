"""The stores in which ours and Feast's own are measured side by side: SQLite files, and databases of one Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from configs import Config
from features import online
from features.benchmark_store import feast_store
from features.publish import write_vectors
from features.redis_server import RedisServer, is_installed, redis_server

__all__ = ["Shown", "Side", "sides"]


@dataclass(frozen=True)
class Shown:
    """What is published: ``features`` columns f0, f1, ... of the snapshot ``path``."""

    config: Config
    path: Path
    features: int

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features, in their order."""
        return tuple(f"f{number}" for number in range(self.features))

    @cached_property
    def catalogue(self) -> str:
        """The digest under which they are published."""
        return "sha256:" + hashlib.sha256(",".join(self.names).encode()).hexdigest()

    def publish(self, store: online.OnlineStore) -> None:
        """Ours, all of it."""
        with store.publication() as writer:
            write_vectors(self.config, writer, self.path, self.names, self.catalogue)

    def read(self, store: online.OnlineStore, users: list[str]) -> Any:
        """Ours, float64[user, feature]."""
        return online.read_vectors(store, users, self.features, self.catalogue).values

    def feast(self, side: Side, turn: int = 0) -> Any:
        """A Feast store over the same snapshot; everything in it is Feast's."""
        folder, name = side.folder, f"{side.name}feast-{turn}"
        return feast_store(folder, name, self.path, self.features, {"type": "duckdb"}, side.feast(turn))


@dataclass(frozen=True)
class Side:
    """One kind of store, new ones each turn; ``name`` begins the names of its metrics."""

    name: str
    folder: Path
    server: RedisServer | None = None

    def ours(self, turn: int = 0) -> online.OnlineStore:
        """The store that we publish into."""
        uri = f"sqlite:///{self.folder / f'ours-{turn}' / 'online.db'}"
        return online.open_store(self.server.uri(2 * turn) if self.server else uri)

    def feast(self, turn: int = 0) -> Mapping[str, Any]:
        """What Feast is told of its own store."""
        if self.server:
            return {"type": "redis", "connection_string": f"127.0.0.1:{self.server.port},db={2 * turn + 1}"}
        return {"type": "sqlite", "path": str(self.folder / f"{self.name}feast-{turn}" / "online.db")}


def sides(folder: Path, stack: ExitStack, settings: dict[str, Any]) -> list[Side]:
    """SQLite and, where a ``redis-server`` can be started, a Redis until ``stack`` ends; ``settings`` says if not."""
    found = [Side("", folder)]
    if is_installed():
        found.append(Side("redis_", folder, stack.enter_context(redis_server())))
    else:
        settings["redis"] = "not measured: redis-server is not installed"
    return found
