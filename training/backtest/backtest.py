"""``userops backtest``: ask the procedure at past origins, measure, draw, and keep it all in MLflow.

Whatever was forecast at an origin stays in a file of the home: after a kill the same command goes on where it was.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from configs import Config, ModelConfig, model_of
from features.events import span
from features.periods import as_utc
from training.backtest.evaluation import OURS, Result, evaluate_forecasts
from training.backtest.pictures import origins_figure, segments_figure, splits_figure
from training.backtest.report import report_page
from training.backtest.words import verdict
from training.evaluate import Contact
from training.forecasts import Forecasts, Recipe, forecasts, past_origins
from training.labels import MONTH_HORIZON
from training.pictures import calibration_figure, gain_figure
from training.registry import Registry, Run
from training.splits import origins_before
from training.unnamed import digits_of

__all__ = ["Backtest", "backtest", "unnamed"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Backtest:
    """What a back-test found: ``heads`` by name (`evaluation.evaluate_forecasts`), ``verdict`` by head in words.

    ``recipe`` says whose settings were asked: ``yaml``, ``given``, or the number of a version.
    """

    model: str
    recipe: str
    kind: str
    origins: list[str]
    decides: str
    contact: dict[str, float]
    heads: dict[str, Result]
    verdict: dict[str, dict[str, str]]
    lists: list[dict[str, Any]]
    log: dict[str, Any]
    run_id: str
    page: str
    seconds: float


def backtest(
    config: Config,
    name: str,
    count: int = 12,
    every: int = 1,
    contact: Contact | None = None,
    progress: Progress | None = None,
    recipe: Recipe | None = None,
    version: str | None = None,
) -> Backtest:
    """Judge the procedure of model ``name`` at its last ``count`` origins, ``every`` steps of its grid apart.

    Parameters
    ----------
    recipe
        Settings of the procedure; those of the model's YAML file when absent.
    version
        A number or an alias whose own settings are taken instead.

    Raises
    ------
    RegistryError
        When there is no such version.
    TrainingError
        When the history is too short to learn and to judge.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    model, contact = model_of(config, name), contact or Contact()
    whose = "yaml" if recipe is None else "given"
    if version is not None:
        recipe, whose = _recipe_of(config, name, version)
    show("reading", 0.01)
    origins = past_origins(config, model, count, every)
    found = forecasts(config, model, origins, lambda m, fraction: show(m, 0.01 + 0.84 * fraction), recipe=recipe)
    show("measuring", 0.86)
    heads = evaluate_forecasts(found, contact, config.seed)
    decides = _decides(model, found.kind)
    report = Backtest(
        model=name,
        recipe=whose,
        kind=found.kind,
        origins=[origin.isoformat() for origin in origins],
        decides=decides,
        contact=asdict(contact),
        heads=heads,
        verdict={head: verdict(one, decides) for head, one in heads.items()},
        lists=[{"origin": one["origin"], **one["lists"]} for one in found.log["origins"] if "lists" in one],
        log=found.log,
        run_id="",
        page="",
        seconds=round(time.monotonic() - started, 1),
    )
    show("drawing", 0.95)
    return _logged(config, model, found, report)


def _recipe_of(config: Config, name: str, version: str) -> tuple[Recipe, str]:
    """The settings of a registered version, and its number."""
    registry = Registry(config)
    found = registry.version(name, version)
    return Recipe.of_version(registry.read_json(found.run_id, "model/model.json")), found.version


def _decides(model: ModelConfig, kind: str) -> str:
    """The metric that the gate looks at, where a forecast of this kind has it."""
    fallback = "mae" if kind == "spend" else "log_loss"
    known = ("mae", "bias", "spearman", "capture@10") if kind == "spend" else ("log_loss", "brier", "auroc", "pr_auc")
    return model.gate.decides if model.gate.decides in known else fallback


def _logged(config: Config, model: ModelConfig, found: Forecasts, report: Backtest) -> Backtest:
    """The report with its run and its page; pictures are drawn once, for the run and for the page."""
    first = span(config)[0]
    learned = {one: origins_before(model.origins, as_utc(one), first) for one in report.origins}
    longest = max(float(head.get("horizon_days", MONTH_HORIZON)) for head in model.heads.values())
    curves = {head: one["curves"] for head, one in report.heads.items() if one["curves"]}
    figures = {
        "splits": splits_figure(learned, longest, as_utc(found.log["known_until"])),
        "by_origin": origins_figure(report.heads, report.contact),
        "by_segment": segments_figure(report.heads, report.decides),
        **({"calibration": calibration_figure(curves), "gain": gain_figure(curves)} if curves else {}),
    }
    page = report_page(asdict(report), model.purpose, figures, longest)
    registry = Registry(config)
    tags = {"kind": "backtest", "decides": report.decides, "recipe_of": report.recipe}
    with registry.run(model.name, "backtest", tags) as run:
        _numbers(run, report)
        for name, figure in figures.items():
            run.figure(figure, f"{name}.png")
        run.text(page, "backtest.html")
        run.json(asdict(report), "backtest.json")
        run.note(_note(report))
        with tempfile.TemporaryDirectory() as scratch:
            unnamed(found.frame).to_parquet(Path(scratch) / "forecasts.parquet", index=False)
            run.folder(Path(scratch), "forecasts")
        run_id = run.run_id
    path = config.home / "reports" / f"backtest_{model.name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return Backtest(**{**vars(report), "run_id": run_id, "page": str(path)})


def unnamed(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with `digits_of` each user: MLflow may be a server that others read.

    Examples
    --------
    >>> unnamed(pd.DataFrame({"user_id": ["u1", "u2", "u1"], "p": [0.1, 0.2, 0.3]}))["user_id"].tolist()
    ['bb82030dbc2bcaba', '6ca202c88e549dff', 'bb82030dbc2bcaba']
    """
    users = {one: digits_of(one) for one in frame["user_id"].unique()}
    return frame.assign(user_id=frame["user_id"].map(users))


def _numbers(run: Run, report: Backtest) -> None:
    """Pooled metrics beside the baselines; by origin as steps, so that MLflow draws them over time."""
    recipe = report.log["recipe"]
    run.parameters(
        {
            "origins": len(report.origins),
            "first_origin": report.origins[0],
            "last_origin": report.origins[-1],
            "data_hash": report.log["data_hash"],
            "catalogue_digest": report.log["catalogue_digest"],
            "lightgbm": recipe["lightgbm"],
            "features": len(recipe["features"]),
            **{f"contact.{key}": value for key, value in report.contact.items()},
        }
    )
    for head, one in report.heads.items():
        pooled = one["pooled"]
        for metric, value in pooled.get(OURS, {}).items():
            low, high = value["ci"]
            run.metrics({f"{head}.{metric}": value["value"]})
            run.metrics({f"{head}.{metric}.low": low, f"{head}.{metric}.high": high})
        for name, values in pooled.get("baselines", {}).items():
            run.metrics({f"{head}.baseline.{name}.{metric}": value["value"] for metric, value in values.items()})
        for step, origin in enumerate(one["by_origin"]):
            run.metrics(_steps(head, origin), step=step)


def _steps(head: str, origin: Mapping[str, Any]) -> dict[str, float]:
    return {f"{head}.{metric}.by_origin": value["value"] for metric, value in origin.get(OURS, {}).items()}


def _note(report: Backtest) -> str:
    lines = [f"**Back-test of {report.model}** at {len(report.origins)} past origins, {report.origins[0][:10]} to"]
    lines[0] += (
        f" {report.origins[-1][:10]}: at each, fitted only to what was known then. `backtest.html` shows it all."
    )
    lines += [f"* `{head}`: {words['en']}" for head, words in report.verdict.items()]
    return "\n".join([*lines, "", *(f"* `{head}`：{words['zh']}" for head, words in report.verdict.items())])
