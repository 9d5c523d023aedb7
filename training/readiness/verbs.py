"""``userops readiness``."""

from __future__ import annotations

from typing import Annotated

import typer

from configs import load
from configs.terminal import JsonFile, Lang, Models, console, plain, print_table, showing, write_json

__all__ = ["readiness"]

TITLE = {
    "en": "{model} (maturity {maturity}), judged at {days}",
    "zh": "{model}（成熟度 {maturity}），评估时点 {days}",
}
COLUMNS = {
    "en": ["head · channel", "positives", "AUROC ±", "loss ±", "mean ±", "advice"],
    "zh": ["目标 · 渠道", "正例", "AUROC ±", "损失 ±", "均值 ±", "建议"],
}
UNTIL = {"en": "; from {day} on it can be trained", "zh": "；{day} 起可以训练"}


def readiness(
    models: Models = None,
    origins: Annotated[int, typer.Option(help="How many past origins to judge by; each is a fit of its own.")] = 1,
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Say of each model, head and channel whether its labels carry a model, a simpler rule, or nothing yet."""
    from training.readiness.readiness import readiness as look
    from training.readiness.words import sentence

    config = load()
    reports = []
    for model in models or list(config.models):
        with showing(f"readiness of {model}") as show:
            found = look(config, model, show, origins)
        reports.append(found.as_json())
        if found.reason is not None:
            until = UNTIL[lang].format(day=found.until) if found.until else ""
            console.print(f"{model}: {found.reason}{until}", markup=False, highlight=False, soft_wrap=True)
            continue
        rows: list[list[object]] = [
            [
                f"{one.head} · {one.channel}",
                "" if one.unknown_days is not None else one.advice.positives,
                *(plain(half) for half in (one.advice.auroc_half, one.advice.loss_half, one.advice.mean_half)),
                sentence(one)[lang],
            ]
            for one in found.lines
        ]
        title = TITLE[lang].format(model=model, maturity=found.maturity, days=", ".join(found.origins))
        print_table(title, COLUMNS[lang], rows, words=[5])
    write_json(json_file, reports)
