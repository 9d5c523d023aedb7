"""How fast publication and the one-user read are beside Feast's own, in SQLite and in Redis, in one process."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from configs import Config
from configs.errors import FeatureError
from features.benchmark_report import Progress, clock, report, scratch, silence, spread
from features.benchmark_sides import Shown, Side, sides
from features.benchmark_store import START, Values, ids_of, write_history

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
        shown = Shown(config, path, features)
        both = sides(folder, stack, settings)
        for place, side in enumerate(both):
            tell = _part_of(progress, place, len(both))
            wrote, read = _publications(shown, side, repeats, tell), _reads(shown, side, values[0])
            rate = {name: [users / seconds for seconds in taken] for name, taken in wrote.items()}
            metrics[f"{side.name}users_per_second"] = spread(rate["ours"])
            metrics[f"{side.name}read_microseconds"] = spread([1e6 * seconds for seconds in read["ours"]])
            stock_rate, stock_read = statistics.median(rate["feast"]), statistics.median(read["feast"])
            baselines["feast_materialize"][f"{side.name}users_per_second"] = stock_rate
            baselines["feast_scalar_views"][f"{side.name}read_microseconds"] = 1e6 * stock_read
            ratios[f"{side.name}ours_vs_feast_materialize"] = statistics.median(rate["ours"]) / stock_rate
            ratios[f"{side.name}ours_vs_feast_read"] = stock_read / statistics.median(read["ours"])
    return report("publish", metrics, baselines, ratios, settings, ("feast", "duckdb", "numpy"), started)


def _publications(shown: Shown, side: Side, repeats: int, progress: Callable[[float], None]) -> dict[str, list[float]]:
    written: dict[str, list[float]] = {"ours": [], "feast": []}
    for turn in range(repeats):
        with clock(written["ours"]):
            shown.publish(side.ours(turn))
        feast = shown.feast(side, turn)
        with silence(), clock(written["feast"]):
            feast.materialize(START - timedelta(days=1), START + timedelta(days=1))
        progress((turn + 1) / repeats)
    return written


def _reads(shown: Shown, side: Side, values: Values) -> dict[str, list[float]]:
    """Seconds of single reads of what the first turn published, by turns ours and Feast's."""
    store, feast = side.ours(), shown.feast(side)
    refs = [f"behaviour:{name}" for name in shown.names]
    ids = list(ids_of(len(values)))

    def ours(user: str) -> Values:
        found: Values = shown.read(store, [user])[0]
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
            if not np.array_equal(answer, values[number]):
                raise FeatureError(f"{name}: another value came back than was published", got=ids[number])
    store.close()
    return read


def _part_of(progress: Progress | None, place: int, parts: int) -> Callable[[float], None]:
    return lambda share: progress("publish", (place + share) / parts) if progress else None
