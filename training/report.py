"""What a training run found, in numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from training.judge import Numbers

__all__ = ["TrainReport", "calibration_figure"]


@dataclass(frozen=True)
class TrainReport:
    """What a training run found: ``metrics[head][metric] = {"value", "ci"}``, ``baselines[head][name][metric]``.

    ``left_out`` says of each label that could not be learned or judged why not; its heads are not in the version.
    """

    model: str
    version: str
    run_id: str
    judged_on: str
    metrics: Numbers
    baselines: Numbers
    left_out: dict[str, str]
    evidence: dict[str, Any]


def calibration_figure(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Observed rate against mean prediction in ten equal groups, one panel per head; the diagonal is perfection."""
    figure = Figure(figsize=(3.2 * max(len(curves), 1), 3.4), layout="constrained")
    for index, (head, points) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), index)
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
        axes.plot([p["mean_prediction"] for p in points], [p["rate"] for p in points], marker="o", markersize=4)
        axes.set(title=head, xlabel="mean prediction", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        if index == 1:
            axes.set_ylabel("observed rate")
    return figure
