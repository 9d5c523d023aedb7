"""The benchmarks of this room: features, point-in-time join, publication, online read."""

from __future__ import annotations

from typing import Annotated

import typer

from configs import load
from configs.terminal import JsonFile, Quick, print_benchmark, print_table, showing, write_json

__all__ = ["benchmark_features", "benchmark_growth", "benchmark_online", "benchmark_pit", "benchmark_publish"]


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


def benchmark_growth(
    events: Annotated[str, typer.Option(help="Numbers of events to build from, in millions.")] = "1,3,10,30",
    users: Annotated[str, typer.Option(help="Numbers of users to publish, in millions.")] = "0.1,0.3,1,4",
    json_file: JsonFile = None,
    quick: Quick = False,
) -> None:
    """Measure how builds and publications grow, fit a power to each, and ask it about 10 billion events."""
    from features.benchmark_growth import benchmark_growth as run

    events_of, users_of = _millions("0.02,0.04" if quick else events), _millions("0.001,0.002" if quick else users)
    with showing("growth") as show:
        found = run(load(), events_of, users_of, show)
    write_json(json_file, found)
    powers, asked = found["settings"]["powers"], found["baselines"]
    rows = [
        [name, f"{power['exponent']:.3f}", f"{power['worst']:.0%}", *(f"{one[name]:,.0f}" for one in asked.values())]
        for name, power in powers.items()
    ]
    sizes_of = [f"{one['events']:,} events, {one['users']:,} users" for one in found["settings"]["asked"].values()]
    print_table("growth: cost ~ size ** exponent", ["cost", "exponent", "farthest off", *sizes_of], rows)


def _millions(text: str) -> list[int]:
    """Whole numbers from millions, e.g. ``0.1,1``."""
    try:
        sizes = [round(1e6 * float(one)) for one in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r}: numbers with commas between them, such as 0.1,1,10") from None
    if min(sizes) < 1 or len(set(sizes)) < 2:
        raise typer.BadParameter(f"{text!r}: two sizes or more, each above 0")
    return sorted(sizes)
