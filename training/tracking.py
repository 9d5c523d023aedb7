"""What a training run leaves in MLflow, so that a stranger who only has its pages understands it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from training.registry import Run
from training.report import calibration_figure

__all__ = ["log_training"]

# Of a family's log, what is worth a column in MLflow's table of runs.
SHOWN = ("rows", "positives", "users", "trees", "slope", "level_weight")


def log_training(
    run: Run,
    feature_service: str,
    metrics: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]],
    curves: Mapping[str, Any],
    evidence: Mapping[str, Any],
) -> None:
    """Parameters, metrics with their intervals beside the baselines, curves, and the whole evidence as JSON.

    Parameters
    ----------
    metrics, baselines, curves
        By head, as `TrainReport` holds them.
    evidence
        ``split``, ``data`` (with ``catalogue_digest``) and ``fits`` (a log per booster), as ``model.json`` keeps them.
    """
    split, data = evidence["split"], evidence["data"]
    run.parameters({**split, **{f"data.{key}": value for key, value in data.items() if key != "origins"}})
    for name, log in evidence["fits"].items():
        run.parameters({f"{name}.{key}": log[key] for key in SHOWN if key in log})
        run.parameters({f"{name}.{key}": value for key, value in log["params"].items()})
    for head, values in metrics.items():
        run.metrics({f"{head}.{name}": value["value"] for name, value in values.items()})
        intervals = {name: value["ci"] for name, value in values.items() if value["ci"]}
        run.metrics({f"{head}.{name}.low": low for name, (low, _) in intervals.items()})
        run.metrics({f"{head}.{name}.high": high for name, (_, high) in intervals.items()})
        for baseline, numbers in baselines[head].items():
            run.metrics({f"{head}.baseline.{baseline}.{name}": value for name, value in numbers.items()})
    run.tags({"feature_service": feature_service, "catalogue_digest": str(data["catalogue_digest"])})
    run.json({"metrics": metrics, "baselines": baselines, "calibration": curves}, "evaluation.json")
    run.json(json.loads(json.dumps(evidence, default=str)), "evidence.json")
    run.figure(calibration_figure(curves), "calibration.png")
