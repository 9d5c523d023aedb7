"""The benchmarks of this room: features, point-in-time join, publication, online read."""

from __future__ import annotations

from typing import Annotated

import typer

from configs import load
from configs.terminal import JsonFile, Quick, print_benchmark, showing

__all__ = ["benchmark_features", "benchmark_online", "benchmark_pit", "benchmark_publish"]


def benchmark_features(
    events: Annotated[int, typer.Option(help="How many events to make and to measure on.")] = 20_000_000,
    frame_events: Annotated[int, typer.Option(help="How many others pandas and polars are given.")] = 2_000_000,
    json_file: JsonFile = None,
    quick: Quick = False,
) -> None:
    """Measure how fast features are computed: one snapshot, 52 in one pass, twenty of them beside pandas and polars."""
    from features.benchmark_features import benchmark_features as run

    size = {"events": 20_000, "snapshots": 3, "frame_events": 10_000} if quick else {
        "events": events,
        "frame_events": frame_events,
    }  # fmt: skip
    with showing("benchmark features") as show:
        found = run(load(), **size, progress=show)
    print_benchmark(found, json_file)


def benchmark_pit(json_file: JsonFile = None, quick: Quick = False) -> None:
    """Measure the point-in-time join beside Feast's own DuckDB store; both must agree with the oracle."""
    from features.benchmark_store import benchmark_pit as run

    size = {"labels": 500, "days": 20, "entities": 20, "features": 3, "repeats": 1} if quick else {}
    with showing("benchmark pit") as show:
        found = run(load(), **size, progress=show)
    print_benchmark(found, json_file)


def benchmark_publish(json_file: JsonFile = None, quick: Quick = False) -> None:
    """Measure publication and the one-user read beside Feast's own, in SQLite and in Redis."""
    from features.benchmark_publish import benchmark_publish as run

    size = {"users": 100, "features": 4, "repeats": 1} if quick else {}
    with showing("benchmark publish") as show:
        found = run(load(), **size, progress=show)
    print_benchmark(found, json_file)


def benchmark_online(json_file: JsonFile = None, quick: Quick = False) -> None:
    """Measure the read of one user and of a hundred beside Feast's feature server over HTTP, with SQLite and Redis."""
    from features.benchmark_online import benchmark_online as run

    size = {"users": 50, "features": 4, "reads": 5, "many": 10} if quick else {}
    with showing("benchmark online") as show:
        found = run(load(), show, **size)
    print_benchmark(found, json_file)
