"""What a training run found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.judge import Numbers

__all__ = ["TrainReport"]


@dataclass(frozen=True)
class TrainReport:
    """What a training run found: ``metrics[head][metric] = {"value", "ci"}``, ``baselines[head][name][metric]``.

    ``left_out`` says in ``en`` and ``zh`` of each label that could not be learned, or judged, why not; what was not
    learned is not in the version.
    """

    model: str
    version: str
    run_id: str
    judged_on: str
    metrics: Numbers
    baselines: Numbers
    left_out: dict[str, dict[str, str]]
    evidence: dict[str, Any]
