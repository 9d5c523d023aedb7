"""How fast publication and the one-user read are beside Feast's own, in SQLite and in Redis, in one process."""

from __future__ import annotations

import contextlib
import hashlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from configs import Config
from configs.errors import FeatureError
from features import online
from features.benchmark_store import (
    START,
    Progress,
    Values,
    clock,
    feast_store,
    ids_of,
    report,
    scratch,
    silence,
    spread,
    write_history,
)
from features.publish import write_vectors
from features.redis_server import RedisServer, is_installed, redis_server

__all__ = ["benchmark_publish"]

READS = 200


def benchmark_publish(
    config: Config, users: int = 10_000, features: int = 60, repeats: int = 3, progress: Progress | None = None
) -> dict[str, Any]:
    """Users a second into the online store, and microseconds to read one back, ours and Feast's scalar views.

    In SQLite and, where a ``redis-server`` can be started, in a Redis of its own.

    Raises
    ------
    FeatureError
        When a value read back is not the value published.
    """
    started = time.monotonic()
    random = np.random.default_rng(config.seed)
    metrics: dict[str, Any] = {}
    baselines: dict[str, Any] = {"feast_materialize": {}, "feast_scalar_views": {}}
    ratios: dict[str, float] = {}
    settings: dict[str, Any] = {"users": users, "features": features, "repeats": repeats, "reads": READS}
    with scratch(config) as folder, contextlib.ExitStack() as stack:
        path = folder / "snapshot.parquet"
        values = random.normal(size=(1, users, features))
        write_history(path, values)
        shown = _Shown(config, path, values[0])
        sides = [_Sqlite(folder)]
        if is_installed():
            sides.append(_Redis(folder, stack.enter_context(redis_server())))
        else:
            settings["redis"] = "not measured: redis-server is not installed"
        for place, side in enumerate(sides):
            tell = _part_of(progress, place, len(sides))
            wrote, read = _publications(shown, side, repeats, tell), _reads(shown, side)
            rate = {name: [users / seconds for seconds in taken] for name, taken in wrote.items()}
            metrics[f"{side.name}users_per_second"] = spread(rate["ours"])
            metrics[f"{side.name}read_microseconds"] = spread([1e6 * seconds for seconds in read["ours"]])
            stock_rate, stock_read = statistics.median(rate["feast"]), statistics.median(read["feast"])
            baselines["feast_materialize"][f"{side.name}users_per_second"] = stock_rate
            baselines["feast_scalar_views"][f"{side.name}read_microseconds"] = 1e6 * stock_read
            ratios[f"{side.name}ours_vs_feast_materialize"] = statistics.median(rate["ours"]) / stock_rate
            ratios[f"{side.name}ours_vs_feast_read"] = stock_read / statistics.median(read["ours"])
    return report("publish", metrics, baselines, ratios, settings, started)


@dataclass(frozen=True)
class _Shown:
    """What is published: ``values[user, feature]``, in the file ``path``."""

    config: Config
    path: Path
    values: Values

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"f{number}" for number in range(self.values.shape[1]))

    @property
    def catalogue(self) -> str:
        return "sha256:" + hashlib.sha256(",".join(self.names).encode()).hexdigest()


class _Sqlite:
    """Ours and Feast's own store in SQLite files, new ones each turn."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ours(self, turn: int) -> online.OnlineStore:
        return online.open_store(f"sqlite:///{self.folder / f'ours-{turn}' / 'online.db'}")

    def feast(self, turn: int) -> dict[str, Any]:
        return {"type": "sqlite", "path": str(self.folder / f"{self.name}feast-{turn}" / "online.db")}


class _Redis(_Sqlite):
    """Ours and Feast's own store in databases of one Redis, new ones each turn."""

    name = "redis_"

    def __init__(self, folder: Path, server: RedisServer) -> None:
        super().__init__(folder)
        self.server = server

    def ours(self, turn: int) -> online.OnlineStore:
        return online.open_store(self.server.uri(2 * turn))

    def feast(self, turn: int) -> dict[str, Any]:
        return {"type": "redis", "connection_string": f"127.0.0.1:{self.server.port},db={2 * turn + 1}"}


def _publications(
    shown: _Shown, side: _Sqlite, repeats: int, progress: Callable[[float], None]
) -> dict[str, list[float]]:
    written: dict[str, list[float]] = {"ours": [], "feast": []}
    for turn in range(repeats):
        with clock(written["ours"]), side.ours(turn).publication() as writer:
            write_vectors(shown.config, writer, shown.path, shown.names, shown.catalogue)
        feast = _feast_of(shown, side, turn)
        with silence(), clock(written["feast"]):
            feast.materialize(START - timedelta(days=1), START + timedelta(days=1))
        progress((turn + 1) / repeats)
    return written


def _reads(shown: _Shown, side: _Sqlite) -> dict[str, list[float]]:
    """Seconds of single reads of what the first turn published, by turns ours and Feast's."""
    store, feast = side.ours(0), _feast_of(shown, side, 0)
    refs = [f"behaviour:{name}" for name in shown.names]
    ids = list(ids_of(len(shown.values)))

    def ours(user: str) -> Values:
        found: Values = online.read_vectors(store, [user], len(shown.names), shown.catalogue).values[0]
        return found

    def stock(user: str) -> Values:
        answer = feast.get_online_features(features=refs, entity_rows=[{"user_id": user}]).to_dict()
        return np.array([answer[name][0] for name in shown.names])

    readers = {"ours": ours, "feast": stock}
    read: dict[str, list[float]] = {name: [] for name in readers}
    for number in np.random.default_rng(shown.config.seed).integers(len(ids), size=READS):
        for name, one in readers.items():
            with clock(read[name]):
                answer = one(ids[number])
            if not np.array_equal(answer, shown.values[number]):
                raise FeatureError(f"{name}: another value came back than was published", got=ids[number])
    store.close()
    return read


def _feast_of(shown: _Shown, side: _Sqlite, turn: int) -> Any:
    store = side.feast(turn)
    return feast_store(
        side.folder, f"{side.name}feast-{turn}", shown.path, len(shown.names), {"type": "duckdb"}, online_store=store
    )


def _part_of(progress: Progress | None, place: int, parts: int) -> Callable[[float], None]:
    return lambda share: progress("publish", (place + share) / parts) if progress else None
