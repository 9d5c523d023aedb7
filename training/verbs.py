"""The first verbs of this room: train, promote, compare; `userops.py` lists those of its folders beside them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from configs import load
from configs.terminal import (
    JsonFile,
    Models,
    bracket,
    console,
    errors,
    print_table,
    showing,
    write_json,
)

__all__ = ["compare", "print_metrics", "promote", "train"]


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
