"""The plots of a training run, one panel per head, and of what it learns from; none needs a sentence to be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["calibration_figure", "gain_figure", "retention_figure", "scores_figure", "weights_figure"]

Curves = Mapping[str, Mapping[str, Any]]

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#9aa5b1"
MOST_FEATURES = 12


def calibration_figure(curves: Curves) -> Figure:
    """Observed mean against mean prediction in ten equal groups; the diagonal is perfection."""
    figure, panels = _panels(curves)
    for (head, one), axes in zip(curves.items(), panels, strict=True):
        x, y = [p["mean_prediction"] for p in one["calibration"]], [p["rate"] for p in one["calibration"]]
        end = 1.05 * max(*x, *y, 1e-9)
        axes.plot([0, end], [0, end], color=GREY, linewidth=1)
        axes.plot(x, y, marker="o", markersize=4, color=BLUE)
        axes.set(title=head, xlabel="mean prediction", xlim=(0, end), ylim=(0, end))
        axes.set_aspect("equal")
    panels[0].set_ylabel("observed")
    return figure


def gain_figure(curves: Curves) -> Figure:
    """How much of all labels lies among the best-scored share of rows: the model, every baseline, and chance."""
    figure, panels = _panels(curves)
    for (head, one), axes in zip(curves.items(), panels, strict=True):
        share = [0.0, *one["gain"]["share"]]
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
        names = [name for name in one["gain"] if name not in ("share", "model")]
        for name in names:
            axes.plot(share, [0.0, *one["gain"][name]], linewidth=1, label=name)
        axes.plot(share, [0.0, *one["gain"]["model"]], color=BLUE, linewidth=2, label="model")
        axes.set(title=head, xlabel="share contacted", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(fontsize=7, frameon=False, loc="lower right")
    panels[0].set_ylabel("share found")
    return figure


def scores_figure(curves: Curves) -> Figure:
    """How predictions are spread, over those with the label and those without."""
    figure, panels = _panels(curves)
    for (head, one), axes in zip(curves.items(), panels, strict=True):
        edges = one["scores"]["edges"]
        for name, color in (("without", GREY), ("with", ORANGE)):
            axes.stairs(one["scores"][name], edges, fill=True, alpha=0.6, color=color, label=name)
        axes.set(title=head, xlabel="prediction", xlim=(edges[0], edges[-1]))
        axes.legend(fontsize=7, frameon=False, title="label", title_fontsize=7)
    panels[0].set_ylabel("rows")
    return figure


def weights_figure(weights: pd.DataFrame) -> Figure:
    """The features with the largest share of mean absolute contributions; ``weights`` is `explain.weights`."""
    heads = list(dict.fromkeys(weights["head"]))
    figure, panels = _panels(heads, across=2, width=5.4, height=0.7 + 0.2 * MOST_FEATURES)
    for head, axes in zip(heads, panels, strict=True):
        best = weights[weights["head"] == head].nlargest(MOST_FEATURES, "share")[::-1]
        axes.barh(best["feature"], best["share"], color=BLUE)
        axes.set(title=head, xlabel="share of mean |SHAP|")
        axes.tick_params(labelsize=8)
    return figure


def retention_figure(retention: pd.DataFrame) -> Figure:
    """Cohorts down, months since the first event across, the share still active as colour; of `cohorts.retention`."""
    share = retention.drop(columns="users")
    figure = Figure(figsize=(1.5 + 0.5 * share.shape[1], 1.0 + 0.32 * len(share)), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(share.to_numpy(float), aspect="auto", vmin=0, vmax=1, cmap="Blues")
    axes.set_yticks(
        range(len(share)), [f"{name} ({users:,})" for name, users in retention["users"].items()], fontsize=8
    )
    axes.set_xticks(range(share.shape[1]), [str(month) for month in share.columns], fontsize=8)
    axes.set_xlabel("months since the first event")
    figure.colorbar(drawn, label="share active")
    return figure


def _panels(
    heads: Collection[str], across: int = 3, width: float = 3.6, height: float = 3.5
) -> tuple[Figure, list[Axes]]:
    columns = min(across, len(heads))
    rows = -(-len(heads) // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, index + 1) for index in range(len(heads))]
