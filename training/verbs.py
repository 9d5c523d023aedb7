"""The verbs of this room: train, promote, compare, and benchmarks of everything that learns."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from configs import load
from configs.terminal import (
    JsonFile,
    Models,
    bracket,
    console,
    errors,
    print_benchmark,
    print_table,
    showing,
    write_json,
)
from features.periods import as_utc

__all__ = [
    "benchmark_interest",
    "benchmark_nextbasket",
    "benchmark_repurchase",
    "benchmark_uplift",
    "benchmark_value",
    "compare",
    "promote",
    "train",
]


def train(models: Models = None, json_file: JsonFile = None) -> None:
    """Train, judge on later periods, and register a challenger in MLflow."""
    from training.train import train as fit

    config = load()
    reports = []
    for model in models or list(config.models):
        with showing(f"training {model}") as show:
            report = fit(config, model, show)
        if report.version:
            title = f"{model} version {report.version}, judged on what followed {report.judged_on}"
            print_metrics(title, report.metrics, report.baselines)
        for label, reason in report.left_out.items():
            console.print(f"left out {label}: {reason}", markup=False, highlight=False, soft_wrap=True)
        reports.append(asdict(report))
    write_json(json_file, reports)


def print_metrics(title: str, metrics: dict[str, dict[str, Any]], baselines: dict[str, dict[str, Any]]) -> None:
    """Metrics of each head with intervals, its baselines below."""
    rows: list[list[object]] = []
    rest = ("ece", "mean_prediction", "base_rate")
    for head, values in metrics.items():
        ranked = [f"{values[name]['value']:.4f} {bracket(values[name]['ci'])}" for name in ("auroc", "log_loss")]
        rows.append([head, *ranked, *(f"{values[name]['value']:.4f}" for name in rest)])
        for name, others in baselines.get(head, {}).items():
            rows.append([f"  {name}", *(f"{others[metric]:.4f}" for metric in ("auroc", "log_loss", *rest))])
    print_table(title, ["", "AUROC [95 %]", "log-loss [95 %]", "ECE", "mean", "base"], rows)


def promote(
    models: Models = None,
    version: Annotated[str, typer.Option(help="A version number or an alias.")] = "challenger",
) -> None:
    """Let a version be the champion that the next release serves."""
    from training.release import promote as move
    from training.release import trained

    config = load()
    for model in models or trained(config):
        chosen, before = move(config, model, version)
        console.print(f"{model}: champion is version {chosen}" + (f" (before: {before})" if before else ""))


def compare(
    model: Annotated[str, typer.Argument(help="Which model.")],
    first: Annotated[str, typer.Argument(help="A version number or an alias.")] = "champion",
    second: Annotated[str, typer.Argument(help="A version number or an alias.")] = "challenger",
    json_file: JsonFile = None,
) -> None:
    """Put two versions side by side; every metric with its interval."""
    from training.registry import Registry

    registry = Registry(load())
    pair = [registry.version(model, name) for name in (first, second)]
    judged = [version.tags.get("judged_on", "?") for version in pair]
    if judged[0] != judged[1]:
        errors.print(f"judged on different periods ({judged[0]} and {judged[1]}): differences mix model and period")
    names = sorted(name for name in pair[0].metrics.keys() & pair[1].metrics.keys() if name.count(".") == 1)
    rows: list[list[object]] = []
    for name in names:
        values = [version.metrics[name] for version in pair]
        bounds = [[version.metrics.get(f"{name}.{end}", float("nan")) for end in ("low", "high")] for version in pair]
        cells = [f"{v:.4f} [{low:.4f}, {high:.4f}]" for v, (low, high) in zip(values, bounds, strict=True)]
        rows.append([name, *cells, f"{values[1] - values[0]:+.4f}"])
    titles = [f"{name} (version {v.version})" for name, v in zip((first, second), pair, strict=True)]
    print_table(f"{model}", ["metric", *titles, "difference"], rows)
    write_json(json_file, {"model": model, "versions": [asdict(v) for v in pair]})


def benchmark_repurchase(
    source: Annotated[str, typer.Option(help="A name in configs/sources, or the path of a mapping.")],
    data: Annotated[Path, typer.Option(help="The file or folder to read.")],
    observe_until: Annotated[str, typer.Option(help="The last known instant, in UTC.")],
    horizon_days: Annotated[float, typer.Option(help="Days after it in which a purchase counts.")] = 90,
    json_file: JsonFile = None,
) -> None:
    """Judge the repurchase pipeline on a data set of yours, beside recency, frequency, RFM and BG/NBD."""
    from training.benchmark import benchmark_repurchase as run

    with showing("benchmark repurchase") as show:
        found = run(load(), source, data, as_utc(observe_until), horizon_days, show)
    title = (
        f"{source} until {observe_until}, {horizon_days:g} days, {found['n']:,} customers ({found['seconds']:.0f} s)"
    )
    print_metrics(title, {"ours": found["metrics"]}, {"ours": found["baselines"]})
    write_json(json_file, found)


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
