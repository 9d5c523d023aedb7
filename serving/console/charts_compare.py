"""Two versions in pictures: before the same users, on the same scales; the first grey, the second blue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.console.charts import BLUE, GREY, Figure, figure, plain, table
from serving.console.features_said import FeatureWords
from serving.console.steps import Steps, steps
from serving.console.words import Words

__all__ = ["changed", "differences", "example", "moves", "said_by_both"]

MOST_FEATURES, MOST_STEPS = 10, 7
_LINE = "#c9d2db"


def said_by_both(t: Words, points: Sequence[Sequence[float]], titles: tuple[str, str], money: bool) -> Figure:
    """Each point one user: what the first says across, the second upwards; on the line both say the same."""
    most = max((value for point in points for value in point), default=1.0)
    end = 1.0 if not money and most > 0.5 else 1.05 * most
    form = ",.0f" if money else ".0%"
    line = {"type": "scatter", "mode": "lines", "x": [0, end], "y": [0, end], "hoverinfo": "skip",
            "line": {"color": GREY, "width": 1, "dash": "dot"}}  # fmt: skip
    dots = {"type": "scatter", "mode": "markers", "x": [point[0] for point in points], "y": [p[1] for p in points],
            "marker": {"size": 6, "color": BLUE, "opacity": 0.45},
            "hovertemplate": f"%{{x:{form}}} → %{{y:{form}}}<extra></extra>"}  # fmt: skip
    axis = {"range": [0, end], "tickformat": form}
    said = table(list(titles), [[repr(value) for value in point] for point in points])
    across = {**axis, "title": {"text": plain(titles[0])}}
    return figure([line, dots], said, xaxis=across, yaxis={**axis, "title": {"text": plain(titles[1])}})


def moves(t: Words, edges: Sequence[float], counts: Sequence[int]) -> Figure:
    """How many users move by how many percentiles; the empty ends are left out."""
    there = [place for place, n in enumerate(counts) if n] or [0]
    first, last = max(there[0] - 1, 0), min(there[-1] + 1, len(counts) - 1)
    pieces = [(edges[k], edges[k + 1], counts[k]) for k in range(first, last + 1)]
    trace = {
        "type": "bar",
        "x": [(low + high) / 2 for low, high, _ in pieces],
        "y": [n for *_, n in pieces],
        "width": [0.92 * (high - low) for low, high, _ in pieces],
        "marker": {"color": GREY},
        "customdata": [f"{low:+g} … {high:+g}" for low, high, _ in pieces],
        "hovertemplate": "%{customdata}: %{y}<extra></extra>",
    }
    said = table([t("compare.move"), t("compare.users")], [[f"{low:+g} … {high:+g}", n] for low, high, n in pieces])
    return figure([trace], said, xaxis={"title": {"text": t("compare.move")}, "ticksuffix": ""},
                  yaxis={"title": {"text": t("compare.users")}})  # fmt: skip


def differences(t: Words, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """By how much the second is better, each with its interval, in widths of that interval; 0 is no difference."""
    places = list(range(len(rows)))
    halves = [max((row["ci"][1] - row["ci"][0]) / 2, 1e-12) for row in rows]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [row["value"] / half for row, half in zip(rows, halves, strict=True)],
        "y": places,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [(row["ci"][1] - row["value"]) / half for row, half in zip(rows, halves, strict=True)],
            "arrayminus": [(row["value"] - row["ci"][0]) / half for row, half in zip(rows, halves, strict=True)],
            "color": "#566472",
            "thickness": 1.6,
            "width": 5,
        },
        "marker": {"size": 9, "color": BLUE},
        "customdata": [f"{plain(row['name'])}<br>{row['better']}" for row in rows],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    ticks = {"tickvals": places, "ticktext": [plain(row["name"]) for row in rows], "autorange": "reversed",
             "showgrid": False, "zeroline": False}  # fmt: skip
    across = {
        "title": {"text": t("compare.better_axis")},
        "zeroline": True,
        "zerolinewidth": 2,
        "showticklabels": False,
    }
    return figure([trace], None, yaxis=ticks, xaxis=across)


def changed(t: Words, rows: Sequence[Mapping[str, Any]], names: FeatureWords, titles: tuple[str, str]) -> Figure:
    """The mean absolute contribution in both, of the features that changed most."""
    best = rows[:MOST_FEATURES]
    places = list(range(len(best)))
    traces = [
        {"type": "bar", "orientation": "h", "y": places, "x": [row[side] for row in best], "name": plain(title),
         "marker": {"color": colour}, "customdata": [plain(names.full(row["feature"])) for row in best],
         "hovertemplate": "%{customdata}<br>%{x:.4f}<extra>%{fullData.name}</extra>"}
        for side, title, colour in (("first", titles[0], GREY), ("second", titles[1], BLUE))
    ]  # fmt: skip
    ticks = {"tickvals": places, "ticktext": [names.wrapped(row["feature"]) for row in best], "autorange": "reversed",
             "showgrid": False, "zeroline": False}  # fmt: skip
    return figure(traces, None, barmode="group", bargap=0.35, showlegend=True,
                  legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom", "traceorder": "normal"},
                  yaxis=ticks, xaxis={"title": {"text": t("compare.mean_abs")}})  # fmt: skip


def example(t: Words, one: Mapping[str, Any], names: FeatureWords) -> tuple[Figure, Figure]:
    """The two waterfalls of one user, on one scale."""
    sides = [_steps(t, one, one[side], names) for side in ("first", "second")]
    low, high = min(side.low for side in sides), max(side.high for side in sides)
    one_scale = [steps(side, (low, high), (t("compare.feature"), t("compare.contribution"))) for side in sides]
    return one_scale[0], one_scale[1]


def _steps(t: Words, one: Mapping[str, Any], side: Mapping[str, Any], names: FeatureWords) -> Steps:
    told = sorted(side["contributions"].items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    values = one.get("values", {})
    bars = [(f"{names.meaning(name)}: {names.value(name, values.get(name))}", phi) for name, phi in told]
    return Steps(t("compare.base"), side["base"], bars, t("compare.raw"), side["raw"], MOST_STEPS, t("compare.others"))
