"""How costs grow: a build with the number of events, a publication with the number of users, and where that leads.

Each is measured at several sizes, a power of the size is fitted to it, and the power is asked for sizes that no machine
here can hold. What is asked so far outside of what was measured is a plan for machines, not a promise.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import redis

from configs import Config, load
from features import online
from features.benchmark_features import measure_build, write_events
from features.benchmark_report import Progress, alone, peak_mb, report, scratch
from features.catalog import NAMES, digest
from features.publish import write_vectors
from features.redis_server import is_installed, redis_server

__all__ = ["EVENTS", "USERS", "Power", "benchmark_growth", "fitted"]

EVENTS = (1_000_000, 3_000_000, 10_000_000, 30_000_000)
USERS = (100_000, 300_000, 1_000_000, 4_000_000)
#: A national retailer, and the largest anybody runs: events a year, users, channels.
ASKED = {"4 million users": (1_000_000_000, 4_000_000, 38), "400 million users": (10_000_000_000, 400_000_000, 38)}
_ROWS = 50_000
_LAST = 2  # sizes a power goes through: smaller ones still pay for the start, and would promise too much
_AS_OF = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Power:
    """``scale * size ** exponent``; ``worst`` is the largest share by which a measured cost lies off it."""

    scale: float
    exponent: float
    worst: float

    def at(self, size: float) -> float:
        """The cost of that size."""
        return float(self.scale * size**self.exponent)


def fitted(sizes: Sequence[float], costs: Sequence[float], least: float = 0.0) -> Power:
    """The power through costs at two sizes or more, by least squares of logarithms.

    Where that grows by less than ``size ** least``, it is the power with that exponent through the largest size.

    Examples
    --------
    >>> power = fitted([1, 10, 100], [2.0, 20.0, 200.0])
    >>> round(power.exponent, 6), round(power.at(1000), 3)
    (1.0, 2000.0)
    >>> fitted([1, 100], [5.0, 50.0], least=1.0).at(1000)
    500.0
    """
    exponent, height = np.polyfit(np.log(sizes), np.log(costs), 1)
    power = Power(math.exp(height), float(exponent), 0.0)
    if exponent < least:
        largest, cost = max(zip(sizes, costs, strict=True))
        power = Power(cost / largest**least, least, 0.0)
    worst = max(abs(power.at(size) / cost - 1) for size, cost in zip(sizes, costs, strict=True))
    return Power(power.scale, power.exponent, worst)


def benchmark_growth(
    config: Config,
    events: Sequence[int] = EVENTS,
    users: Sequence[int] = USERS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Seconds, memory and bytes of builds over ``events`` and publications of ``users``, their powers, and `ASKED`.

    Powers go through the two largest sizes, and seconds grow at least as the size does: no work gets cheaper each by
    there being more of it. ``events`` and ``users`` ascend and are two or more each.

    Publications go to SQLite and, where a ``redis-server`` can be started, to a Redis of their own.
    """
    started = time.monotonic()
    steps = [*(("events", size) for size in events), *(("users", size) for size in users)]
    costs: dict[str, dict[int, float]] = {}
    with scratch(config) as folder:
        for place, (kind, size) in enumerate(steps):
            if progress:
                progress(f"{size:,} {kind}", place / len(steps))
            measured = _build(config, folder, size) if kind == "events" else _publication(config, folder, size)
            for name, cost in measured.items():
                costs.setdefault(name, {})[size] = cost
    powers = {
        name: fitted(list(by)[-_LAST:], list(by.values())[-_LAST:], least=float(name.endswith("seconds")))
        for name, by in costs.items()
    }
    metrics = {f"{name}_{size}": {"value": cost, "ci": None} for name, by in costs.items() for size, cost in by.items()}
    asked = {
        name: {cost: powers[cost].at(n_events if cost.startswith("build") else n_users) for cost in powers}
        for name, (n_events, n_users, _) in ASKED.items()
    }
    settings = {
        "events": list(events),
        "users": list(users),
        "features": len(NAMES),
        "threads": config.threads,
        "memory_limit": config.memory_limit,
        "powers": {name: vars(power) for name, power in powers.items()},
        "asked": {
            name: dict(zip(("events", "users", "channels"), sizes, strict=True)) for name, sizes in ASKED.items()
        },
        "redis": "measured" if is_installed() else "not measured: redis-server is not installed",
    }
    return report("growth", metrics, asked, {}, settings, ("duckdb", "numpy", "pyarrow", "redis"), started)


def _build(config: Config, inside: Path, size: int) -> dict[str, float]:
    """One snapshot of every user feature, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=inside) as name:
        folder = Path(name)
        written = write_events(folder / "events", size, config.seed, config.threads)
        stored = sum(file.stat().st_size for file in (folder / "events").iterdir())
        one = measure_build(config, folder, 1)
    return {
        "build_seconds": one["seconds"] * size / written,
        "build_peak_mb": one["peak_mb"],
        "build_events_mb": stored / 1e6 * size / written,
    }


def _publication(config: Config, folder: Path, size: int) -> dict[str, float]:
    """One snapshot of ``size`` users into empty stores, in a process of its own."""
    return alone("features.benchmark_growth", {"scratch": str(folder), "users": size, "seed": config.seed})


def _publish(asked: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=asked["scratch"]) as name:
        folder = Path(name)
        path = folder / "snapshot.parquet"
        _write_snapshot(path, asked["users"], asked["seed"])
        config = load(home=folder, now=_AS_OF + timedelta(hours=1))
        found["publish_sqlite_seconds"] = _into(config, f"sqlite:///{folder / 'online.db'}", path)
        found["publish_peak_mb"] = peak_mb()
        found["publish_sqlite_mb"] = (folder / "online.db").stat().st_size / 1e6
        if is_installed():
            with redis_server() as server:
                found["publish_redis_seconds"] = _into(config, server.uri(0), path)
                client = redis.Redis.from_url(server.uri(0))
                memory: Any = client.info("memory")
                found["publish_redis_mb"] = memory["used_memory"] / 1e6
                client.close()
    return found


def _into(config: Config, uri: str, path: Path) -> float:
    store = online.open_store(uri)
    began = time.perf_counter()
    with store.publication() as writer:
        write_vectors(config, writer, path, NAMES, digest())
    taken = time.perf_counter() - began
    store.close()
    return taken


def _write_snapshot(path: Path, users: int, seed: int) -> None:
    """So many users with normal numbers for features, a batch at a time."""
    random = np.random.default_rng(seed)
    with pq.ParquetWriter(path, _table(random, 0, 1).schema) as writer:
        for first in range(0, users, _ROWS):
            writer.write_table(_table(random, first, min(_ROWS, users - first)))


def _table(random: np.random.Generator, first: int, rows: int) -> pa.Table:
    instants = pa.array([_AS_OF] * rows, pa.timestamp("us", "UTC"))
    values = random.normal(size=(len(NAMES), rows))
    ids = [f"user-{number:09d}" for number in range(first, first + rows)]
    return pa.table({"user_id": ids, "as_of": instants, "built_at": instants, **dict(zip(NAMES, values, strict=True))})


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_publish(json.loads(sys.argv[1]))) + "\n")
