"""Train the interest model: judge the procedure as of a past day, fit it to everything, register a challenger."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import Config, ModelConfig, model_of
from configs.errors import TrainingError
from features.catalog import digest
from features.events import content_hash, span
from features.periods import as_utc, midnight, now
from serving.scoring.interest.model import FEATURES, HEADS, NAME, InterestModel, write_interest
from training.artifact import provenance
from training.desk.sample import sample_of_pairs
from training.desk.stability import other_seeds
from training.interest.channels import buyers_found, rhythms
from training.interest.examples import Known
from training.interest.fit import fit_head
from training.interest.histories import Histories, read_histories
from training.interest.judge import RHYTHM, JudgedHead, judge_head, judge_needs, without
from training.interest.procedure import Fitted, Learner
from training.registry import CHALLENGER, Registry
from training.report import TrainReport
from training.tracking import log_training

__all__ = ["learner_of", "left_out", "train_interest"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]

LEAST_MATURE, LEAST_YOUNG = 1000, 100


def left_out(histories: Histories) -> dict[str, str] | None:
    """Why no interest can be learned from these histories, in ``en`` and ``zh``; None when it can."""
    lines = histories.lines
    bought = lines.kind == 0
    for column, zh in (("item", "商品"), ("category", "品类")):
        if not (bought & (getattr(lines, column) != 0)).any():
            return {
                "en": f"no purchase in the events names its {column}: the source maps no {column}_id",
                "zh": f"所有购买事件都没有{zh}：数据源未映射 {column}_id",
            }
    return None


def learner_of(
    config: Config, model: ModelConfig, histories: Histories, first_event: datetime, progress: Progress
) -> Learner:
    """The procedure with a model's settings."""
    horizons = {float(definition["horizon_days"]) for definition in model.heads.values()}
    if tuple(model.heads) != HEADS or len(horizons) != 1:
        raise TrainingError("models/interest.yaml: heads", got=model.heads, expected=f"{HEADS} with one horizon_days")
    return Learner(
        histories,
        HEADS,
        horizons.pop(),
        model.origins,
        first_event,
        config.seed,
        config.threads,
        model.lightgbm,
        progress,
    )


def train_interest(
    config: Config, progress: Progress | None = None, before: Mapping[str, Any] | None = None
) -> TrainReport:
    """Train both heads, judge them on what followed, register the refitted version as challenger.

    A source that names no items or categories teaches no interest: the report then has no version, and says why.

    Parameters
    ----------
    before
        What was found out before, a search of parameters: part of the version's evidence.

    Raises
    ------
    TrainingError
        When the history is too short, or holds too few purchases.
    """
    # These read this module.
    from training.forecasts import Recipe, keep
    from training.forecasts_of_pairs import told
    from training.monitor.interest import interest_reference
    from training.readiness.readiness import of_training

    show = progress or (lambda message, fraction: None)
    model = model_of(config, NAME)
    first, last = span(config)
    # A clock ahead of ours may have stamped an event with tomorrow: nothing after now is known.
    known_until = min(last, now(config))
    show("reading", 0.02)
    histories = read_histories(config, known_until)
    if (reason := left_out(histories)) is not None:
        return TrainReport(NAME, "", "", "", {}, {}, {NAME: reason}, {})
    steps = iter(np.linspace(0.05, 0.95, 40))
    learner = learner_of(config, model, histories, first, lambda message, _: show(message, float(next(steps, 0.95))))
    judge_at = learner.grid_before(midnight(known_until))
    day = f"{judge_at:%Y-%m-%d}"
    registry = Registry(config)
    with registry.run(NAME, "train", {"judged_on": day}) as run:
        past = learner.fit(judge_at)
        judged = judge(learner, past, judge_at)
        said, log = told(learner, past, judged)
        keep(config, model, Recipe(model.lightgbm), judge_at, said, log)
        fitted = learner.fit(midnight(known_until), other_seeds(learner.seed))
        show("counting", 0.9)
        known = learner.known(known_until)
        metrics = {head: one.metrics for head, one in judged.items()}
        tags = {"judged_on": day, "catalogue": digest(), "heads": " ".join(HEADS)}
        version = registry.new_version(NAME, run, tags)
        evidence = _evidence(config, learner, fitted, histories, day) | dict(before or {})
        evidence["rhythms"] = rhythms(known, histories.category_names.get)
        evidence["by_category"] = buyers_found(judged["category"], histories.category_names.get)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "model"
                meta = describe(model, learner, fitted, metrics, evidence, version, run.run_id, now(config))
                meta |= provenance(config, model.lightgbm, known_until, FEATURES)
                meta["readiness"] = of_training(config, model, judge_at)
                written = _write(folder, meta, fitted, known, histories)
                run.model(folder, FEATURES, HEADS)
        except BaseException:
            registry.withdraw(NAME, version)
            raise
        baselines = {head: one.baselines for head, one in judged.items()}
        report = TrainReport(NAME, version, run.run_id, day, metrics, baselines, {}, evidence)
        curves = {head: one.curve for head, one in judged.items()}
        show("logging", 0.95)
        reference = interest_reference(written, histories, midnight(known_until), model.origins.every_days)
        sample = sample_of_pairs(fitted.later, histories, as_utc(fitted.calibrated_at))
        again = {head: one.again for head, one in fitted.heads.items()}
        log_training(config, registry, run, report, curves, written, sample, said, reference, again)
        registry.alias(NAME, CHALLENGER, version)
    show("registered", 1.0)
    return report


def judge(learner: Learner, past: Fitted, judge_at: datetime) -> dict[str, JudgedHead]:
    """Every head on what followed ``judge_at``, and what knowing the rhythm of categories is worth."""
    known, users = learner.known(judge_at), learner.users(judge_at)
    horizon, seed = learner.horizon_days, learner.seed
    judged = {
        head: judge_head(learner.histories, known, past.heads[head], past.later[head], horizon, users, seed)
        for head in learner.heads
    }
    blind = fit_head(
        without(past.learned["item"], RHYTHM),
        without(past.later["item"], RHYTHM),
        seed,
        learner.threads,
        learner.lightgbm,
    )
    judge_needs(learner.histories, known, judged["item"], blind, seed)
    return judged


def describe(
    model: ModelConfig,
    learner: Learner,
    fitted: Fitted,
    metrics: Mapping[str, Mapping[str, Any]],
    evidence: Mapping[str, Any],
    version: str,
    run_id: str,
    created_at: datetime,
) -> dict[str, Any]:
    """``model.json`` without files: what `InterestModel` reads, and what a reviewer needs to trust it."""
    heads = {}
    for name, one in fitted.heads.items():
        raw = one.raw(fitted.later[name].x)
        heads[name] = {
            "booster": name,
            "horizon_days": learner.horizon_days,
            "calibrator": {"kind": "sigmoid", "slope": one.calibrator.slope, "intercept": one.calibrator.intercept},
            "interval": one.interval,
            "raw_percentiles": np.quantile(raw, np.linspace(0, 1, 101)).tolist(),
        }
    least = min(one.log["positives"] for one in fitted.heads.values())
    return {
        "name": NAME,
        "version": version,
        "run_id": run_id,
        "purpose": model.purpose,
        "horizon_days": learner.horizon_days,
        "features": {name: list(FEATURES) for name in HEADS},
        "catalogue_digest": digest(),
        "boosters": {name: {} for name in HEADS},
        "heads": heads,
        "cold_start": {head: float(metrics[head]["base_rate"]["value"]) for head in HEADS},
        "maturity": "mature" if least >= LEAST_MATURE else "young" if least >= LEAST_YOUNG else "prior",
        "metrics": metrics,
        "training": dict(evidence),
        "created_at": created_at.isoformat(),
    }


def _write(folder: Path, meta: Mapping[str, Any], fitted: Fitted, known: Known, histories: Histories) -> InterestModel:
    boosters = {name: one.booster.model_to_string() for name, one in fitted.heads.items()}
    names = {**histories.category_names, **histories.item_names}
    return write_interest(folder, meta, boosters, known.statistics, known.needs, names)


def _evidence(config: Config, learner: Learner, fitted: Fitted, histories: Histories, judged_on: str) -> dict[str, Any]:
    return {
        "split": {
            "origins": len(fitted.origins),
            "first_origin": fitted.origins[0],
            "last_origin": fitted.origins[-1],
            "calibrated_at": fitted.calibrated_at,
            "judged_at": judged_on,
        },
        "data": {
            "users": len(histories.users),
            "lines": len(histories.lines),
            "items": len(histories.item_names),
            "categories": len(histories.category_names),
            "data_hash": content_hash(config),
            "catalogue_digest": digest(),
        },
        "fits": {name: one.log for name, one in fitted.heads.items()},
    }
