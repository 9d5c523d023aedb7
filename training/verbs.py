"""`userops train`; the other verbs of this room stand in its folders, and `userops.py` lists them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import Config, load, model_of
from configs.terminal import JsonFile, Lang, Models, bracket, console, print_table, showing, write_json

if TYPE_CHECKING:
    from training.report import TrainReport

__all__ = ["print_metrics", "training"]

COLUMNS = {
    "en": ["", "AUROC [95 %]", "log-loss [95 %]", "ECE", "mean", "base"],
    "zh": ["", "AUROC [95 %]", "对数损失 [95 %]", "ECE", "预测均值", "实际比例"],
}
SAID = {
    "title": {
        "en": "{model} version {version}, judged on what followed {day}",
        "zh": "{model} 第 {version} 版，以 {day} 之后的事实检验",
    },
    "search": {"en": "search: ", "zh": "搜索："},
    "left_out": {"en": "left out ", "zh": "未纳入 "},
    "colon": {"en": ": ", "zh": "："},
}


def training(logged: Callable[[Config, TrainReport], None]) -> Callable[..., None]:
    """The verb; ``logged`` stores with the run of every version that is made what reviewers read of it."""

    def train(
        models: Models = None,
        trials: Annotated[
            int,
            typer.Option(
                min=0,
                help="First search parameters with so many trials in all, those of an interrupted search among them.",
                show_default="0: no search",
            ),
        ] = 0,
        timeout: Annotated[
            float | None,
            typer.Option(min=0.0, help="Seconds after which the search of a model ends.", show_default="no limit"),
        ] = None,
        defaults: Annotated[
            bool,
            typer.Option(
                "--defaults",
                help="Go back to the parameters of configs/models, also where the champion's come from a search.",
                show_default="what the champion's search found is kept",
            ),
        ] = False,
        lang: Lang = "en",
        json_file: JsonFile = None,
    ) -> None:
        """Train, judge on later periods, and register a challenger in MLflow."""
        from training.search.plan import plan
        from training.train import train as fit
        from training.value.report import print_spend

        config = load()
        reports = []
        for model in models or list(config.models):
            if trials:
                told = plan(config, model_of(config, model), trials)[lang]
                console.print(told, markup=False, highlight=False, soft_wrap=True)
            with showing(f"training {model}") as show:
                report = fit(config, model, show, trials, timeout, defaults=defaults)
            if found := report.evidence.get("search", {}).get("words"):
                console.print(f"{SAID['search'][lang]}{found[lang]}", markup=False, highlight=False, soft_wrap=True)
            if report.version:
                title = SAID["title"][lang].format(model=model, version=report.version, day=report.judged_on)
                tell = print_spend if model == "value" else partial(print_metrics, lang=lang)
                tell(title, report.metrics, report.baselines)
            for label, reason in report.left_out.items():
                said = f"{SAID['left_out'][lang]}{label}{SAID['colon'][lang]}{reason[lang]}"
                console.print(said, markup=False, highlight=False, soft_wrap=True)
            if report.version:
                with showing(f"training {model}") as show:
                    show("writing the report", 0.99)
                    logged(config, report)
            reports.append(asdict(report))
        write_json(json_file, reports)

    return train


def print_metrics(
    title: str, metrics: dict[str, dict[str, Any]], baselines: dict[str, dict[str, Any]], lang: str = "en"
) -> None:
    """Metrics of each head with intervals, its baselines below."""
    rows: list[list[object]] = []
    rest = ("ece", "mean_prediction", "base_rate")
    for head, values in metrics.items():
        ranked = [f"{values[name]['value']:.4f} {bracket(values[name]['ci'])}" for name in ("auroc", "log_loss")]
        rows.append([head, *ranked, *(f"{values[name]['value']:.4f}" for name in rest)])
        for name, others in baselines.get(head, {}).items():
            rows.append([f"  {name}", *(f"{others[metric]:.4f}" for metric in ("auroc", "log_loss", *rest))])
    print_table(title, COLUMNS[lang], rows)
