"""What a training run leaves in MLflow, so that a stranger who only has its pages understands it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from configs import Config, model_of
from training.desk.card import kind_of
from training.desk.desk import Again, Told, weights_of, write_desk
from training.desk.sample import Sample
from training.desk.segments import segments_of
from training.explain import Scorer, features_of
from training.model_card import card_markdown
from training.monitor.reference import FILE as REFERENCE
from training.pictures import calibration_figure, gain_figure, scores_figure, weights_figure
from training.registry import Registry
from training.report import TrainReport
from training.revision import revision
from training.run import RUN_NAME, Run

__all__ = ["log_training"]

# Of a family's log, what is worth a column in MLflow's table of runs.
SHOWN = ("rows", "positives", "users", "trees", "slope", "level_weight")


def log_training(
    config: Config,
    registry: Registry,
    run: Run,
    report: TrainReport,
    curves: Mapping[str, Any],
    model: Scorer,
    sample: Sample,
    said: pd.DataFrame | None,
    reference: Mapping[str, Any],
    again: Again | None = None,
) -> None:
    """Parameters, metrics with their intervals beside the baselines, data, plots, all the evidence, and the desk.

    Parameters
    ----------
    report
        Its ``evidence`` holds ``split``, ``data`` (with ``data_hash`` and ``catalogue_digest``) and ``fits`` (a log
        per booster), as ``model.json`` keeps them.
    curves
        By head, as `curves_of` makes them.
    model, sample
        The version that is registered, and whom it is asked about when it is explained.
    said
        What was said on the judged day, beside what followed and with segments, if that is known.
    reference
        ``reference.json``.
    again
        Its boosters grown from other seeds.
    """
    evidence = report.evidence
    split, data = evidence["split"], evidence["data"]
    run.parameters({**split, **{f"data.{key}": value for key, value in data.items() if key != "origins"}})
    for name, log in evidence["fits"].items():
        run.parameters({f"{name}.{key}": log[key] for key in SHOWN if key in log})
        run.parameters({f"{name}.{key}": value for key, value in log.get("params", {}).items()})
    run.metrics(_numbers(report))
    _log_datasets(config, run, report, model)
    run.tags(
        {
            RUN_NAME: f"train: version {report.version}",
            "feature_service": report.model,
            "catalogue_digest": str(data["catalogue_digest"]),
            "data_hash": str(data["data_hash"]),
            "model_version": report.version,
        }
    )
    kind = "spend" if kind_of(report.model) == "value" else "probability"
    segments = {} if said is None else segments_of(said, kind, config.seed)
    evaluation = {"metrics": report.metrics, "baselines": report.baselines, "curves": curves, "segments": segments}
    run.json(evaluation, "evaluation.json")
    run.json(reference, REFERENCE)
    run.json(json.loads(json.dumps(evidence, default=str)), "evidence.json")
    purpose = model_of(config, report.model).purpose
    trained = f"Trained by {config.user} with {revision()}."
    markdown = card_markdown(report, purpose, trained)
    run.note(markdown)
    registry.note_version(report.model, report.version, markdown)
    heavy = weights_of(model, sample)
    drawn = {
        "calibration": calibration_figure(curves),
        "gain": gain_figure(curves),
        "scores": scores_figure(curves),
        "weights": weights_figure(heavy),
    }
    for name, figure in drawn.items():
        run.figure(figure, f"plots/{name}.png")
    run.text(heavy.to_csv(index=False), "weights.csv")
    write_desk(config, registry, run, model, Told(evaluation, reference, heavy), sample, again)


def _numbers(report: TrainReport) -> dict[str, float]:
    """Every metric of every head, its interval as ``.low`` and ``.high``, every baseline's."""
    found: dict[str, float] = {}
    for head, values in report.metrics.items():
        for name, value in values.items():
            found[f"{head}.{name}"] = value["value"]
            if value["ci"]:
                found[f"{head}.{name}.low"], found[f"{head}.{name}.high"] = value["ci"]
        for baseline, numbers in report.baselines[head].items():
            found |= {f"{head}.baseline.{baseline}.{name}": value for name, value in numbers.items()}
    return found


def _log_datasets(config: Config, run: Run, report: TrainReport, model: Scorer) -> None:
    """The data behind the version and the data behind its judgement: same name and digest, same data."""
    split, data = report.evidence["split"], report.evidence["data"]
    profile = {key: value for key, value in {**data, **split}.items() if key != "origins"}
    for context, until in (
        ("training", split.get("labels_known_until", split["last_origin"])),
        ("evaluation", split["judged_at"]),
    ):
        told = json.dumps([context, str(until), data["data_hash"], data["catalogue_digest"], split], default=str)
        digest = hashlib.sha256(told.encode()).hexdigest()[:32]
        columns = sorted({name for head in model.heads for name in features_of(model, head)})
        facts = json.loads(json.dumps({"until": until, **profile}, default=str))
        run.dataset(f"{report.model} {context}", context, digest, columns, facts, config.home / "events")
