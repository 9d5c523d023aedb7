"""``userops backtest``: what would have been foreseen, beside what needs no model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import load
from configs.terminal import JsonFile, Lang, console, plain, print_table, showing, write_json

if TYPE_CHECKING:
    from training.backtest.backtest import Backtest

__all__ = ["backtest"]

SAID = {
    "colon": {"en": ": ", "zh": "："},
    "ours": {"en": "ours", "zh": "本模型"},
    "there": {"en": "ours there", "zh": "本模型（同样行）"},
    "better": {"en": "better by", "zh": "领先"},
    "kept": {"en": "kept", "zh": "已缓存"},
    "origin": {"en": "origin", "zh": "时点"},
    "fitted": {"en": "fitted", "zh": "拟合"},
    "head": {"en": "{users} users at {origins} origins", "zh": "{origins} 个时点，{users} 位用户"},
    "by_origin": {
        "en": "{metric} by origin, and how much better than its best baseline",
        "zh": "各时点的 {metric}，以及领先最佳基线多少",
    },
    "where": {"en": "page: {page}   MLflow run: {run}", "zh": "页面：{page}   MLflow 运行：{run}"},
}
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
    lang: Lang = "en",
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
        _print_head(report, head, one, lang)
    _print_origins(report, lang)
    for head, words in report.verdict.items():
        console.print(f"{head}{SAID['colon'][lang]}{words[lang]}", markup=False, highlight=False, soft_wrap=True)
    where = SAID["where"][lang].format(page=report.page, run=report.run_id)
    console.print(where, markup=False, highlight=False, soft_wrap=True)
    write_json(json_file, asdict(report))


def _print_head(report: Backtest, head: str, one: dict[str, Any], lang: str) -> None:
    """Ours with its interval, each baseline, and the paired difference to the best of them, metric by metric."""
    from training.backtest.words import where

    pooled = one["pooled"]
    if "too_few" in pooled:
        return
    wanted = (*SHOWN, f"value@{report.contact['share'] * 100:g}") if report.kind == "probability" else SHOWN_OF_SPEND
    metrics = [metric for metric in wanted if metric in pooled["ours"]]
    rows: list[list[object]] = [[SAID["ours"][lang], *(plain(pooled["ours"][metric]["value"]) for metric in metrics)]]
    for k, end in enumerate(ENDS):
        rows.append([end, *(plain(pooled["ours"][metric]["ci"][k]) for metric in metrics)])
    told = where(one)[lang]
    if told:
        rows.append([SAID["there"][lang], *(plain(pooled["compared"]["ours"][metric]["value"]) for metric in metrics)])
    for name, values in pooled["baselines"].items():
        rows.append([name, *(plain(values[metric]["value"]) for metric in metrics)])
    gaps = [pooled["best"][metric]["difference"] for metric in metrics if metric in pooled["best"]]
    if gaps:
        rows.append([SAID["better"][lang], *(f"{gap['value']:+.4g}" for gap in gaps)])
    for k, end in enumerate(ENDS if gaps else ()):
        rows.append([end, *(f"{gap['ci'][k]:+.4g}" for gap in gaps)])
    title = SAID["head"][lang].format(users=f"{pooled['users']:,}", origins=len(one["by_origin"]))
    print_table(f"{report.model} {head}{SAID['colon'][lang]}{title}{told}", ["", *metrics], rows)


def _print_origins(report: Backtest, lang: str) -> None:
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
        rows.append([origin[:10], *cells, SAID["kept"][lang] if log["cached"] else f"{log['seconds']:.1f} s"])
    columns = [name for head in report.heads for name in (head, SAID["better"][lang])]
    ends = SAID["origin"][lang], SAID["fitted"][lang]
    print_table(SAID["by_origin"][lang].format(metric=metric), [ends[0], *columns, ends[1]], rows)
