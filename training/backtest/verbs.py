"""``userops backtest``: what would have been foreseen, beside what needs no model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import load
from configs.terminal import JsonFile, console, plain, print_table, showing, write_json

if TYPE_CHECKING:
    from training.backtest.backtest import Backtest

__all__ = ["backtest"]

SHOWN = ("log_loss", "auroc", "pr_auc", "brier", "ece", "lift@5", "lift@10", "lift@20")
ENDS = ("  2.5 %", "  97.5 %")
SHOWN_OF_SPEND = ("mae", "bias", "spearman", "capture@10")


def backtest(
    model: Annotated[str, typer.Argument(help="Which model.")],
    origins: Annotated[int, typer.Option(min=1, help="How many past origins.")] = 12,
    every: Annotated[int, typer.Option(min=1, help="Steps of the model's grid between two of them.")] = 1,
    contact: Annotated[float, typer.Option(min=0.001, max=1.0, help="Budget: the share of users contacted.")] = 0.1,
    worth: Annotated[float, typer.Option(help="What a contact is worth where the label is true.")] = 10.0,
    cost: Annotated[float, typer.Option(help="What a contact costs.")] = 1.0,
    version: Annotated[
        str | None,
        typer.Option(help="A number or an alias whose own settings are asked.", show_default="the model's YAML"),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Ask the procedure at past origins with what was known then; measure it beside every baseline, with intervals.

    Its settings are those of the model's YAML file; with --version those of a version, such as a search has chosen.
    What was forecast at an origin is kept: after a kill the same command goes on.
    """
    from training.backtest.backtest import backtest as judge
    from training.evaluate import Contact

    with showing(f"back-test of {model}") as show:
        report = judge(load(), model, origins, every, Contact(contact, worth, cost), show, version=version)
    for head, one in report.heads.items():
        _print_head(report, head, one)
    _print_origins(report)
    for head, words in report.verdict.items():
        console.print(f"{head}: {words['en']}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"page: {report.page}   MLflow run: {report.run_id}", markup=False, highlight=False, soft_wrap=True)
    write_json(json_file, asdict(report))


def _print_head(report: Backtest, head: str, one: dict[str, Any]) -> None:
    """Ours with its interval, each baseline, and the paired difference to the best of them, metric by metric."""
    from training.backtest.words import where

    pooled = one["pooled"]
    if "too_few" in pooled:
        return
    wanted = (*SHOWN, f"value@{report.contact['share'] * 100:g}") if report.kind == "probability" else SHOWN_OF_SPEND
    metrics = [metric for metric in wanted if metric in pooled["ours"]]
    rows: list[list[object]] = [["ours", *(plain(pooled["ours"][metric]["value"]) for metric in metrics)]]
    for k, end in enumerate(ENDS):
        rows.append([end, *(plain(pooled["ours"][metric]["ci"][k]) for metric in metrics)])
    told = where(one)["en"]
    if told:
        rows.append(["ours there", *(plain(pooled["compared"]["ours"][metric]["value"]) for metric in metrics)])
    for name, values in pooled["baselines"].items():
        rows.append([name, *(plain(values[metric]["value"]) for metric in metrics)])
    gaps = [pooled["best"][metric]["difference"] for metric in metrics if metric in pooled["best"]]
    if gaps:
        rows.append(["better by", *(f"{gap['value']:+.4g}" for gap in gaps)])
    for k, end in enumerate(ENDS if gaps else ()):
        rows.append([end, *(f"{gap['ci'][k]:+.4g}" for gap in gaps)])
    title = f"{report.model} {head}: {pooled['users']:,} users at {len(one['by_origin'])} origins{told}"
    print_table(title, ["", *metrics], rows)


def _print_origins(report: Backtest) -> None:
    """The metric that decides, origin by origin, beside that origin's best baseline."""
    metric = report.decides
    rows: list[list[object]] = []
    for place, origin in enumerate(report.origins):
        cells: list[object] = []
        for one in report.heads.values():
            found = {part["origin"]: part for part in one["by_origin"]}.get(origin, {})
            best = found.get("best", {}).get(metric)
            cells += (
                [plain(found["ours"][metric]["value"]), f"{best['difference']['value']:+.4f}"] if best else ["", ""]
            )
        log = report.log["origins"][place]
        rows.append([origin[:10], *cells, "kept" if log["cached"] else f"{log['seconds']:.1f} s"])
    columns = [name for head in report.heads for name in (head, "better by")]
    print_table(f"{metric} by origin, and how much better than its best baseline", ["origin", *columns, "fitted"], rows)
