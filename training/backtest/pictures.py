"""What a back-test looks like: how time was split, each metric over time, each segment against the best baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.backtest.evaluation import OURS, Result

__all__ = ["origins_figure", "over_time", "segments_figure", "splits_figure"]

BLUE, PALE, ORANGE, GREY, INK = "#1f5fa8", "#b9d0ea", "#d9730d", "#9aa5b1", "#1c2733"
# Without annotations in matplotlib.
_FORMATTER: Any = mdates.ConciseDateFormatter
_LOCATOR: Any = mdates.AutoDateLocator
# Of Okabe and Ito: told apart by everybody.
OTHERS = ("#009e73", "#cc79a7", "#56b4e9", "#8a6d00", "#7f7f7f", "#b2182b", "#4d4d4d")
NAMES = {"log_loss": "log-loss", "auroc": "AUROC", "pr_auc": "PR-AUC", "mae": "MAE"}


def splits_figure(learned: Mapping[str, Sequence[datetime]], horizon_days: float, known_until: datetime) -> Figure:
    """A line per judged origin: what it learned from, what it could not know yet, and what it was judged on.

    Parameters
    ----------
    learned
        By judged origin (ISO), the origins before it on the grid.
    horizon_days
        The longest horizon: its labels at the last origins before a judged one are not over then.
    """
    rows = list(learned.items())
    figure = Figure(figsize=(9.6, 0.9 + 0.27 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    horizon = timedelta(days=horizon_days)
    for place, (text, before) in enumerate(rows):
        origin = datetime.fromisoformat(text)
        over = [at for at in before if at + horizon <= origin]
        open_yet = [at for at in before if at + horizon > origin]
        axes.plot([_day(at) for at in over], [place] * len(over), "o", color=BLUE, markersize=4)
        axes.plot([_day(at) for at in open_yet], [place] * len(open_yet), "o", color=BLUE, markersize=4, mfc="white")
        axes.barh(place, horizon_days, left=_day(origin), height=0.62, color=ORANGE, alpha=0.35)
        axes.plot([_day(origin)], [place], "D", color=ORANGE, markersize=5)
    axes.axvline(_day(known_until), color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(rows)), [text[:10] for text, _ in rows], fontsize=8)
    axes.invert_yaxis()
    _calm(axes)
    _dated(axes)
    return figure


def origins_figure(heads: Mapping[str, Result], contact: Mapping[str, float]) -> Figure:
    """Each metric over the origins, one panel per head: ours with its interval, the baselines as lines."""
    told = {head: one for head, one in heads.items() if any(OURS in origin for origin in one["by_origin"])}
    value = f"value@{contact['share'] * 100:g}"
    first: Mapping[str, Any] = next((o[OURS] for one in told.values() for o in one["by_origin"] if OURS in o), {})
    metrics = [m for m in ("log_loss", "auroc", "pr_auc", "lift@10", value) if m in first] or list(first)[:4]
    figure = Figure(figsize=(3.4 * max(len(told), 2), 0.6 + 1.9 * max(len(metrics), 1)), layout="constrained")
    names = list(dict.fromkeys(name for one in told.values() for name in one["pooled"]["baselines"]))
    colours = dict(zip(names, OTHERS, strict=False))
    for row, metric in enumerate(metrics):
        for column, (head, one) in enumerate(told.items()):
            axes = figure.add_subplot(len(metrics), len(told), row * len(told) + column + 1)
            over_time(axes, one["by_origin"], metric, colours)
            if row == 0:
                axes.set_title(head, fontsize=10, color=INK)
            if column == 0:
                axes.set_ylabel(NAMES.get(metric, metric), fontsize=9)
    if told:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=8, frameon=False)
    return figure


def over_time(axes: Axes, by_origin: Sequence[Mapping[str, Any]], metric: str, colours: Mapping[str, str]) -> None:
    """One metric of one head over the origins."""
    kept = [one for one in by_origin if OURS in one]
    at = [_day(datetime.fromisoformat(one["origin"])) for one in kept]
    for name, colour in colours.items():
        line = [one["baselines"].get(name, {}).get(metric, {}).get("value", np.nan) for one in kept]
        axes.plot(at, line, color=colour, linewidth=1, label=name)
    ours = [one[OURS][metric] for one in kept]
    low, high = zip(*(one["ci"] for one in ours), strict=True)
    axes.fill_between(at, low, high, color=PALE, alpha=0.6, linewidth=0)
    axes.plot(at, [one["value"] for one in ours], color=BLUE, linewidth=2, marker="o", markersize=3, label=OURS)
    _calm(axes)
    _dated(axes, 5)


def segments_figure(heads: Mapping[str, Result], metric: str) -> Figure:
    """How much better ours is than the best baseline in each segment, with intervals; right of the line is better."""
    told = {head: list(_differences(one, metric)) for head, one in heads.items()}
    told = {head: lines for head, lines in told.items() if lines}
    names = [[name for name, _ in lines] for lines in told.values()]
    tall = max((len(lines) for lines in told.values()), default=1)
    figure = Figure(figsize=(3.4 * max(len(told), 2), 0.9 + 0.21 * tall), layout="constrained")
    for column, (head, lines) in enumerate(told.items(), start=1):
        axes = figure.add_subplot(1, len(told), column)
        for place, (_, one) in enumerate(lines):
            low, high = one["ci"]
            colour = BLUE if low > 0 else ORANGE if high < 0 else GREY
            axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
            axes.plot([one["value"]], [place], "o", color=colour, markersize=4)
        axes.axvline(0, color=INK, linewidth=0.8)
        same = column > 1 and names[column - 1] == names[0]
        axes.set_yticks(range(len(lines)), [""] * len(lines) if same else names[column - 1], fontsize=8)
        axes.invert_yaxis()
        axes.set_title(head, fontsize=10, color=INK)
        axes.set_xlabel(f"Δ {NAMES.get(metric, metric)}", fontsize=8)
        _calm(axes)
    return figure


def _differences(one: Result, metric: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{segment}: {part}", found["best"][metric]["difference"])
        for segment, parts in one["by_segment"].items()
        for part, found in parts.items()
        if metric in found.get("best", {})
    ]


def _calm(axes: Axes) -> None:
    axes.grid(axis="x", color="#e3e8ee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=GREY)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GREY)


def _dated(axes: Axes, most: int = 10) -> None:
    axes.xaxis.set_major_locator(_LOCATOR(minticks=2, maxticks=most))
    axes.xaxis.set_major_formatter(_FORMATTER(axes.xaxis.get_major_locator()))


def _day(at: datetime) -> float:
    """Days since 1970 in UTC: how matplotlib counts dates."""
    return at.timestamp() / 86_400
