"""Benchmarks of everything that learns, on data sets of yours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from configs import load
from configs.terminal import (
    JsonFile,
    Quick,
    console,
    print_benchmark,
    showing,
    write_json,
)
from training.verbs import print_metrics

__all__ = [
    "benchmark_bgnbd",
    "benchmark_interest",
    "benchmark_nextbasket",
    "benchmark_repurchase",
    "benchmark_train",
    "benchmark_uplift",
    "benchmark_value",
]


def benchmark_repurchase(
    source: Annotated[str, typer.Option(help="A name in configs/sources, or the path of a mapping.")],
    data: Annotated[Path, typer.Option(help="The file or folder to read.")],
    observe_until: Annotated[str, typer.Option(help="The last known instant, in UTC.")],
    horizon_days: Annotated[float, typer.Option(help="Days after it in which a purchase counts.")] = 90,
    json_file: JsonFile = None,
) -> None:
    """Judge the repurchase pipeline on a data set of yours, beside recency, frequency, RFM and BG/NBD."""
    from features.periods import as_utc
    from training.benchmark import benchmark_repurchase as run

    with showing("benchmark repurchase") as show:
        found = run(load(), source, data, as_utc(observe_until), horizon_days, show)
    title = (
        f"{source} until {observe_until}, {horizon_days:g} days, {found['n']:,} customers ({found['seconds']:.0f} s)"
    )
    print_metrics(title, {"ours": found["metrics"]}, {"ours": found["baselines"]})
    write_json(json_file, found)


def benchmark_train(json_file: JsonFile = None, quick: Quick = False) -> None:
    """Measure the training of churn on a simulated shop, time and log-loss, beside LightGBM and scikit-learn alone."""
    from training.benchmark_train import benchmark_train as run

    size = {"users": 600, "days": 260} if quick else {}
    with showing("benchmark train") as show:
        found = run(load(), show, **size)
    print_benchmark(found, json_file)


def benchmark_bgnbd(json_file: JsonFile = None, quick: Quick = False) -> None:
    """Measure BG/NBD, the baseline of repurchase and value, beside the lifetimes package where that is installed."""
    from training.benchmark_bgnbd import benchmark_bgnbd as run

    with showing("benchmark bgnbd") as show:
        found = run(load(), show, customers=2_000 if quick else 20_000)
    print_benchmark(found, json_file)


def benchmark_nextbasket(
    sets: Annotated[Path, typer.Option(help="A JSON file of train, validate and test users and their sets in order.")],
    json_file: JsonFile = None,
) -> None:
    """Judge interest prediction on the next basket: recall, NDCG and PHR beside frequency, popularity and counts."""
    from training.benchmark_nextbasket import benchmark_nextbasket as run

    with showing("benchmark nextbasket") as show:
        found = run(load(), sets, show)
    print_benchmark(found, json_file)


def benchmark_interest(
    source: Annotated[str, typer.Option(help="A name in configs/sources, or the path of a mapping.")],
    data: Annotated[Path, typer.Option(help="The file or folder to read.")],
    origins: Annotated[int, typer.Option(help="How many judged origins, four weeks apart.")] = 4,
    json_file: JsonFile = None,
) -> None:
    """Judge the next category and the next item on rolling origins of a data set of yours; repeats and firsts apart."""
    from training.benchmark_interest import benchmark_interest as run

    with showing("benchmark interest") as show:
        found = run(load(), source, data, show, origins=origins)
    print_benchmark(found, json_file)


def benchmark_value(
    source: Annotated[str, typer.Option(help="A name in configs/sources, or the path of a mapping.")],
    data: Annotated[Path, typer.Option(help="The file or folder to read.")],
    observe_until: Annotated[str, typer.Option(help="The last known instant, in UTC.")],
    horizon_days: Annotated[float, typer.Option(help="Days after it in which spend counts.")] = 90,
    json_file: JsonFile = None,
) -> None:
    """Judge the forecast of spend on a data set of yours, beside BG/NBD with Gamma-Gamma and the last period again."""
    from features.periods import as_utc
    from training.benchmark_value import benchmark_value as run

    with showing("benchmark value") as show:
        found = run(load(), source, data, as_utc(observe_until), horizon_days, show)
    print_benchmark(found, json_file)
    console.print(found["verdict"]["en"] if isinstance(found["verdict"], dict) else found["verdict"])


def benchmark_uplift(
    data: Annotated[Path, typer.Option(help="Hillstrom's e-mail test, as a CSV file.")], json_file: JsonFile = None
) -> None:
    """Judge S-, T- and X-learner beside sending the same e-mail to everyone, and say whether any is better."""
    from training.benchmark_uplift import benchmark_uplift as run

    with showing("benchmark uplift") as show:
        found = run(load(), data, show)
    print_benchmark(found, json_file)
    console.print(found["verdict"]["en"])
