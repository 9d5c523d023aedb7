"""Train one model: learn as on a past day, judge on what followed, then learn from everything and register.

What is judged is the procedure: the same code, fitted to what was known on the judged day. The version that is
registered comes from the same procedure with all labels that are known now.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs import Config, ModelConfig, model_of
from features.catalog import NAMES, digest
from features.events import span
from features.periods import now
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.model import write_model
from serving.scoring.value.model import NAME as VALUE
from training.artifact import describe, provenance
from training.dataset import assemble
from training.desk.sample import sample_of_users
from training.desk.stability import other_seeds
from training.forecasts_of_users import keep_judged
from training.interest.train import train_interest
from training.judge import horizons_of, judge
from training.models import fit
from training.monitor.reference import reference_of
from training.readiness.readiness import of_training
from training.registry import CHALLENGER, Registry
from training.report import TrainReport
from training.search.handed_on import handed_on
from training.splits import split_at
from training.stack import families, stack
from training.tracking import log_training
from training.value.train import train_value

__all__ = ["TrainReport", "train"]

Progress = Callable[[str, float], None]


def train(
    config: Config,
    name: str,
    progress: Progress | None = None,
    trials: int = 0,
    timeout: float | None = None,
    *,
    defaults: bool = False,
) -> TrainReport:
    """Train ``name``, judge it on a later period, register the refitted version as challenger.

    With ``trials``, parameters are searched first, on days before the judged one (`training.search.tune`). Without, a
    champion whose parameters come from a search hands them on, unless ``defaults`` asks for those of the YAML file.
    """
    model = model_of(config, name)
    show = progress or (lambda message, fraction: None)
    if trials:
        # Who does not search need not wait for Optuna.
        from training.search.tune import tune

        decision = tune(config, model, trials, timeout, lambda message, fraction: show(message, 0.8 * fraction))
        begun = 0.8
    else:
        found = None if defaults else handed_on(config, name)
        if found is None:
            return _train(config, model, show)
        decision, begun = found, 0.0
    model = replace(model, lightgbm=decision.lightgbm)
    config = replace(config, models={**config.models, name: model})
    search = decision.evidence
    report = _train(config, model, lambda m, fraction: show(m, begun + (1 - begun) * fraction), {"search": search})
    if report.version:
        registry, run_id = Registry(config), search.get("run_id", "")
        tags = {"search": decision.outcome, "search_run_id": run_id}
        registry.reopen(report.run_id).tags(tags)
        registry.reopen(report.run_id).json(search, "search.json")
        registry.set_version_tags(name, report.version, tags)
    return replace(report, evidence={**report.evidence, "search": search})


def _train(config: Config, model: ModelConfig, show: Progress, before: Mapping[str, Any] | None = None) -> TrainReport:
    """``before`` is what was found out before: it becomes part of the version's evidence."""
    if model.name == INTEREST:
        return train_interest(config, show, before)
    if model.name == VALUE:  # nothing is searched for it
        return train_value(config, show)
    return _train_probabilities(config, model, show, before or {})


def _train_probabilities(config: Config, model: ModelConfig, show: Progress, before: Mapping[str, Any]) -> TrainReport:
    name = model.name
    first, last = span(config)
    # A clock ahead of ours may have stamped an event with tomorrow: nothing after now is known.
    split = split_at(model.origins, horizons_of(model), first, min(last, now(config)))
    show(f"{len(split.origins)} origins", 0.05)
    data = assemble(
        config, (*split.origins, split.known_until), lambda message, fraction: show(message, 0.05 + 0.3 * fraction)
    )
    registry = Registry(config)
    with registry.run(name, "train", {"judged_on": f"{split.judge:%Y-%m-%d}"}) as run:
        show("judging", 0.4)
        judged = judge(config, model, data, split)
        learned = int(data.frame.loc[data.frame["as_of"] < split.judge, "as_of"].nunique())
        said = keep_judged(config, model, split.judge, judged, learned)
        show("learning from everything", 0.7)
        chosen = [family for family in families(model) if family.name in judged.fits]
        today = {f.name: stack(data.at([split.known_until]), f, NAMES, None) for f in chosen}
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
                blend=judged.fits[family.name].blend,
                seeds=other_seeds(config.seed),
            )
            for family in chosen
        ]
        tags = {"judged_on": f"{split.judge:%Y-%m-%d}", "catalogue": digest(), "heads": " ".join(judged.metrics)}
        version = registry.new_version(name, run, tags)
        evidence = {
            "split": split.log,
            "data": data.log,
            "judged": {label: one.log for label, one in judged.fits.items()},
            "left_out": judged.left_out,
            "fits": {f.family.name: f.log for f in fitted},
            **before,
        }
        try:
            with tempfile.TemporaryDirectory() as scratch:
                origin = provenance(config, model.lightgbm, split.known_until)
                if not judged.left_out:  # else nothing was kept, and the forecasts would be made all over again
                    origin["readiness"] = of_training(config, model, split.judge)
                meta = describe(
                    model, today, fitted, judged.metrics, evidence, version, run.run_id, now(config), origin
                )
                folder = Path(scratch) / "model"
                written = write_model(folder, meta, {f.family.name: f.booster.model_to_string() for f in fitted})
                run.model(folder, written.features, list(written.heads))
        except BaseException:
            registry.withdraw(name, version)
            raise
        day = f"{split.judge:%Y-%m-%d}"
        report = TrainReport(
            name, version, run.run_id, day, judged.metrics, judged.baselines, judged.left_out, evidence
        )
        show("logging", 0.95)
        sample = sample_of_users(written, data.frame, split.known_until)
        reference = reference_of(written, data.frame, split.known_until)
        again = {one.family.name: one.again for one in fitted}
        log_training(config, registry, run, report, judged.curves, written, sample, said, reference, again)
        registry.alias(name, CHALLENGER, version)
    show("registered", 1.0)
    return report
