"""``userops monitor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from configs import load
from configs.terminal import JsonFile, Lang, Models, console, print_table, showing, writable, write_json

__all__ = ["DRIFT", "STALE", "monitor"]

DRIFT, STALE = 3, 4
TITLE = {
    "en": "{model} version {version}: {verdict}, {days} days after training",
    "zh": "{model} 第 {version} 版：{verdict}，训练后 {days} 天",
}
COLUMNS_ZH = ["特征", "状态", "PSI", "平常", "KS", "权重", "原缺失", "现缺失"]
PAGE = {"en": "page: ", "zh": "页面："}


def monitor(
    models: Models = None,
    version: Annotated[str, typer.Option(help="A version number or an alias.")] = "champion",
    served: Annotated[
        Path | None,
        typer.Option(
            help="An export of the decision log to look at too.", show_default="no served vectors", exists=True
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="A folder to write a page per model into.", show_default="MLflow only", file_okay=False),
    ] = None,
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Look for drift since training; ends with 0 when quiet, 3 on drift, 4 when only features are old."""
    from training.monitor.monitor import monitor as look
    from training.monitor.report import COLUMNS, VERDICTS, as_page, log_monitoring, rows_of
    from training.registry import Registry

    config = load()
    registry, reports = Registry(config), []
    known = [model for model in config.models if registry.aliased(model, version)]
    for model in models or known or list(config.models):
        with showing(f"monitoring {model}") as show:
            found = look(config, model, version, show, served=served)
        run_id = log_monitoring(config, found)
        about = {"model": model, "version": found.version, "days": f"{found.age_days:.0f}"}
        title = TITLE[lang].format(**about, verdict=VERDICTS[found.verdict][lang])
        print_table(title, COLUMNS if lang == "en" else COLUMNS_ZH, rows_of(found.shifts))
        for reason in found.reasons:
            said = f"  {reason['code']}: {reason[lang]}"
            console.print(said, markup=False, highlight=False, soft_wrap=True)
        if html is not None:
            html.mkdir(parents=True, exist_ok=True)
            page = writable(html / f"{model}.html") or html
            page.write_text(as_page(found), encoding="utf-8")
            console.print(f"  {PAGE[lang]}{page}", markup=False, highlight=False, soft_wrap=True)
        reports.append({**found.as_json(), "run_id": run_id})
    write_json(json_file, reports)
    verdicts = {report["verdict"] for report in reports}
    if "drift" in verdicts or "stale" in verdicts:
        raise typer.Exit(DRIFT if "drift" in verdicts else STALE)
