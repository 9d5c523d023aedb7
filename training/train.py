"""Train one model: learn as on a past day, judge on what followed, then learn from everything and register.

What is judged is the procedure: the same code, fitted to what was known on the judged day. The version that is
registered comes from the same procedure with all labels that are known now.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import Config, ModelConfig
from features.catalog import NAMES, digest
from features.events import span
from features.periods import now
from serving.scoring.model import write_model
from training.artifact import describe
from training.baselines import baselines
from training.dataset import TrainingSet, assemble
from training.evaluate import calibration_curve, evaluate, lift, metrics_of
from training.models import Fitted, fit, raw_scores
from training.registry import CHALLENGER, Registry, Run
from training.report import calibration_figure
from training.splits import Split, split_at
from training.stack import families, stack

__all__ = ["TrainReport", "judge", "train"]

Progress = Callable[[str, float], None]
Numbers = dict[str, dict[str, Any]]

# The label windows of a calendar month are over after two months at the latest.
MONTH_HORIZON = 62.0


@dataclass(frozen=True)
class TrainReport:
    """What a training run found: ``metrics[head][metric] = {"value", "ci"}``, ``baselines[head][name][metric]``."""

    model: str
    version: str
    run_id: str
    judged_on: str
    metrics: Numbers
    baselines: Numbers
    evidence: dict[str, Any]


def train(config: Config, name: str, progress: Progress | None = None) -> TrainReport:
    """Train ``name``, judge it on a later period, register the refitted version as challenger."""
    model = config.models[name]
    show = progress or (lambda message, fraction: None)
    split = split_at(model.origins, horizons_of(model), *span(config))
    show(f"{len(split.origins)} origins", 0.05)
    data = assemble(
        config, (*split.origins, split.known_until), lambda message, fraction: show(message, 0.05 + 0.3 * fraction)
    )
    registry = Registry(config)
    with registry.run(name, "train", {"judged_on": f"{split.judge:%Y-%m-%d}"}) as run:
        show("judging", 0.4)
        metrics, others, curves, judged = judge(config, model, data, split)
        show("learning from everything", 0.7)
        today = {f.name: stack(data.at([split.known_until]), f, NAMES, None) for f in families(model)}
        fitted = [
            fit(
                stack(data.frame, family, NAMES, split.known_until),
                today[family.name],
                family,
                NAMES,
                data.first_day,
                config.seed,
                config.threads,
                model.lightgbm,
                blend=judged[family.name].blend,
            )
            for family in families(model)
        ]
        version = registry.new_version(name, run, {"judged_on": f"{split.judge:%Y-%m-%d}", "catalogue": digest()})
        evidence = {
            "split": split.log,
            "data": data.log,
            "judged": {label: one.log for label, one in judged.items()},
            "fits": {f.family.name: f.log for f in fitted},
        }
        try:
            with tempfile.TemporaryDirectory() as scratch:
                meta = describe(model, today, fitted, metrics, evidence, version, run.run_id, now(config))
                write_model(Path(scratch) / "model", meta, {f.family.name: f.booster.model_to_string() for f in fitted})
                run.folder(Path(scratch) / "model", "model")
        except BaseException:
            registry.withdraw(name, version)
            raise
        _log(run, model, metrics, others, curves, evidence)
        registry.alias(name, CHALLENGER, version)
    show("registered", 1.0)
    return TrainReport(name, version, run.run_id, f"{split.judge:%Y-%m-%d}", metrics, others, evidence)


def judge(
    config: Config, model: ModelConfig, data: TrainingSet, split: Split
) -> tuple[Numbers, Numbers, dict[str, Any], dict[str, Fitted]]:
    """Fit on what was known at ``split.judge``; metrics, baselines, curves and fits, judged on what followed it."""
    metrics: Numbers = {}
    others: Numbers = {}
    curves: dict[str, Any] = {}
    fits: dict[str, Fitted] = {}
    past = data.frame[data.frame["as_of"] < split.judge]
    present = data.at([split.judge])
    for family in families(model):
        rows, ahead = stack(past, family, NAMES, split.judge), stack(present, family, NAMES, None)
        fitted = fit(rows, ahead, family, NAMES, data.first_day, config.seed, config.threads, model.lightgbm)
        fits[family.name] = fitted
        for head in family.heads:
            horizon = model.heads[head].get("horizon_days")
            asked = None if horizon is None else [horizon]
            judged = stack(present, family, NAMES, split.known_until, asked)
            learned = rows.where(rows.horizon == (horizon or 0.0))
            probability = fitted.probability(judged.x, horizon)
            raw = raw_scores(fitted.booster, judged.x)
            found = evaluate(judged.y, probability, judged.user, raw, seed=config.seed)
            metrics[head] = {name: interval.as_json() for name, interval in found.items()}
            for percent in (5, 10, 20):
                metrics[head][f"lift@{percent}"] = {"value": lift(judged.y, raw, percent / 100), "ci": None}
            given = baselines(family, horizon, learned, judged, NAMES)
            others[head] = {name: metrics_of(judged.y, p) for name, p in given.items()}
            curves[head] = calibration_curve(judged.y, probability)
    return metrics, others, curves, fits


def horizons_of(model: ModelConfig) -> list[float]:
    """How many days after an origin each head's label is known, at the latest."""
    return [float(definition.get("horizon_days", MONTH_HORIZON)) for definition in model.heads.values()]


def _log(
    run: Run,
    model: ModelConfig,
    metrics: Numbers,
    others: Numbers,
    curves: Mapping[str, Any],
    evidence: Mapping[str, Any],
) -> None:
    split, data = evidence["split"], evidence["data"]
    run.parameters({**split, **{f"data.{key}": value for key, value in data.items() if key != "origins"}})
    for name, log in evidence["fits"].items():
        run.parameters(
            {f"{name}.{key}": log[key] for key in ("rows", "positives", "users", "trees", "slope", "level_weight")}
        )
        run.parameters({f"{name}.{key}": value for key, value in log["params"].items()})
    for head, values in metrics.items():
        run.metrics({f"{head}.{name}": value["value"] for name, value in values.items()})
        intervals = {name: value["ci"] for name, value in values.items() if value["ci"]}
        run.metrics({f"{head}.{name}.low": low for name, (low, _) in intervals.items()})
        run.metrics({f"{head}.{name}.high": high for name, (_, high) in intervals.items()})
        for baseline, numbers in others[head].items():
            run.metrics({f"{head}.baseline.{baseline}.{name}": value for name, value in numbers.items()})
    run.tags({"feature_service": model.name, "catalogue_digest": data["catalogue_digest"]})
    run.json({"metrics": metrics, "baselines": others, "calibration": curves}, "evaluation.json")
    run.json(json.loads(json.dumps(evidence, default=str)), "evidence.json")
    run.figure(calibration_figure(curves), "calibration.png")
