"""Train one model: learn as on a past day, judge on what followed, then learn from everything and register.

What is judged is the procedure: the same code, fitted to what was known on the judged day. The version that is
registered comes from the same procedure with all labels that are known now.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from configs import Config, ModelConfig, model_of
from features.catalog import NAMES, digest
from features.events import span
from features.periods import now
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.model import write_model
from training.artifact import describe
from training.dataset import assemble
from training.interest.train import train_interest
from training.judge import Judged, horizons_of, judge
from training.models import fit
from training.registry import CHALLENGER, Registry, Run
from training.report import TrainReport, calibration_figure
from training.splits import split_at
from training.stack import families, stack

__all__ = ["TrainReport", "train"]

Progress = Callable[[str, float], None]


def train(config: Config, name: str, progress: Progress | None = None) -> TrainReport:
    """Train ``name``, judge it on a later period, register the refitted version as challenger."""
    model = model_of(config, name)
    show = progress or (lambda message, fraction: None)
    if name == INTEREST:
        return train_interest(config, show)
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
        }
        try:
            with tempfile.TemporaryDirectory() as scratch:
                meta = describe(model, today, fitted, judged.metrics, evidence, version, run.run_id, now(config))
                write_model(Path(scratch) / "model", meta, {f.family.name: f.booster.model_to_string() for f in fitted})
                run.folder(Path(scratch) / "model", "model")
        except BaseException:
            registry.withdraw(name, version)
            raise
        _log(run, model, judged, evidence)
        registry.alias(name, CHALLENGER, version)
    show("registered", 1.0)
    day = f"{split.judge:%Y-%m-%d}"
    return TrainReport(name, version, run.run_id, day, judged.metrics, judged.baselines, judged.left_out, evidence)


def _log(run: Run, model: ModelConfig, judged: Judged, evidence: Mapping[str, Any]) -> None:
    split, data = evidence["split"], evidence["data"]
    run.parameters({**split, **{f"data.{key}": value for key, value in data.items() if key != "origins"}})
    for name, log in evidence["fits"].items():
        run.parameters(
            {f"{name}.{key}": log[key] for key in ("rows", "positives", "users", "trees", "slope", "level_weight")}
        )
        run.parameters({f"{name}.{key}": value for key, value in log["params"].items()})
    for head, values in judged.metrics.items():
        run.metrics({f"{head}.{name}": value["value"] for name, value in values.items()})
        intervals = {name: value["ci"] for name, value in values.items() if value["ci"]}
        run.metrics({f"{head}.{name}.low": low for name, (low, _) in intervals.items()})
        run.metrics({f"{head}.{name}.high": high for name, (_, high) in intervals.items()})
        for baseline, numbers in judged.baselines[head].items():
            run.metrics({f"{head}.baseline.{baseline}.{name}": value for name, value in numbers.items()})
    run.tags({"feature_service": model.name, "catalogue_digest": data["catalogue_digest"]})
    found = {"metrics": judged.metrics, "baselines": judged.baselines, "calibration": judged.curves}
    run.json(found, "evaluation.json")
    run.json(json.loads(json.dumps(evidence, default=str)), "evidence.json")
    run.figure(calibration_figure(judged.curves), "calibration.png")
