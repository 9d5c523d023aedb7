"""The charts of a card: calibration, gain, scores, segments; each as plotly takes it, with the same as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from serving.console.charts import BLUE, GREY, Figure, figure, plain, table
from serving.console.measures import in_words, measure
from serving.console.page import number
from serving.console.words import Words

__all__ = ["calibration", "gain", "scores", "segments"]

# What tells lines apart besides their names: colours that differ to the colour-blind, too, and dashes.
LINES = (("#5c6b7a", "dash"), ("#d9730d", "dot"), ("#00806a", "dashdot"), ("#8e4a9e", "longdash"),
         ("#8a6d00", "longdashdot"), ("#c2477f", "dot"))  # fmt: skip
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left", "font": {"size": 12}}


def calibration(t: Words, points: Sequence[Mapping[str, float]], money: bool) -> Figure:
    """What was said against what happened, in tenths of the users; a share has its 95 % interval (Wilson)."""
    said, came = [one["mean_prediction"] for one in points], [one["rate"] for one in points]
    spans = [(0.0, 0.0) if money else _wilson(one["rate"], one["rows"]) for one in points]
    top = 1.04 * max([*said, *came, *(high for _, high in spans)], default=1.0)
    form, hover = ("", "%{x:,.2f}<br>%{y:,.2f}") if money else (".0%", "%{x:.1%}<br>%{y:.1%}")
    data: list[dict[str, Any]] = [
        {"type": "scatter", "x": [0, top], "y": [0, top], "mode": "lines", "hoverinfo": "skip",
         "line": {"color": GREY, "dash": "dash", "width": 1}},
        {"type": "scatter", "x": said, "y": came, "mode": "lines+markers", "hovertemplate": f"{hover}<extra></extra>",
         "line": {"color": BLUE, "width": 1.5}, "marker": {"color": BLUE, "size": 7}},
    ]  # fmt: skip
    if not money:
        up = [high - rate for (_, high), rate in zip(spans, came, strict=True)]
        down = [rate - low for (low, _), rate in zip(spans, came, strict=True)]
        data[1]["error_y"] = {"array": up, "arrayminus": down, "symmetric": False, "width": 0, "thickness": 1,
                              "color": BLUE}  # fmt: skip
    rows = [
        [
            _amount(one["mean_prediction"], money),
            _amount(one["rate"], money),
            "" if money else f"{_amount(low, money)} – {_amount(high, money)}",
            f"{one['rows']:,.0f}",
        ]
        for one, (low, high) in zip(points, spans, strict=True)
    ]
    columns = [t("card.predicted"), t("card.happened"), t("card.interval"), t("card.users")]
    kept = [0, 1, 3] if money else [0, 1, 2, 3]
    told = table([columns[k] for k in kept], [[row[k] for k in kept] for row in rows])
    x = {"title": {"text": t("card.predicted")}, "range": [0, top], "tickformat": form}
    y = {"title": {"text": t("card.happened")}, "range": [0, top], "tickformat": form}
    return figure(data, told, xaxis=x, yaxis=y, margin=_margin())


def gain(t: Words, curve: Mapping[str, Sequence[float]], first: str | None) -> Figure:
    """Which share of all that happened the best-scored users hold, beside the baselines; ``first`` is the best."""
    share = [0.0, *curve["share"]]
    names = sorted((name for name in curve if name not in ("share", "model")), key=lambda name: name != first)
    data: list[dict[str, Any]] = [
        {"type": "scatter", "x": [0, 1], "y": [0, 1], "mode": "lines", "name": t("card.chance"), "hoverinfo": "skip",
         "line": {"color": GREY, "width": 1}},
    ]  # fmt: skip
    # The best baseline comes last of them, next to the model above all.
    for place, name in enumerate(names):
        colour, dash = LINES[place % len(LINES)]
        line = {"color": colour, "width": 1.5, "dash": dash}
        data.insert(1, _line(share, curve[name], t.or_code("measure.baseline", name), line))
    data.append(_line(share, curve["model"], t("card.model"), {"color": BLUE, "width": 2.5}))
    columns = [t("card.best_scored"), t("card.model"), *(t.or_code("measure.baseline", name) for name in names)]
    rows = [
        [f"{100 * part:.0f} %", *(f"{100 * curve[name][place]:.1f} %" for name in ("model", *names))]
        for place, part in enumerate(curve["share"])
    ]
    x = {"title": {"text": t("card.best_scored")}, "range": [0, 1.005], "tickformat": ".0%"}
    y = {"title": {"text": t("card.caught")}, "range": [0, 1.03], "tickformat": ".0%"}
    style = {"showlegend": True, "legend": LEGEND | {"traceorder": "reversed"}, "margin": _margin()}
    return figure(data, table(columns, rows), xaxis=x, yaxis=y, **style)


def scores(t: Words, spread: Mapping[str, Sequence[float]], money: bool) -> Figure:
    """How many users got which answer, by what happened then; bars stand on one another."""
    edges = spread["edges"]
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    widths = [0.94 * (b - a) for a, b in pairwise(edges)]
    pairs = (("without", t("card.did_not"), GREY, ""), ("with", t("card.did"), BLUE, "/"))
    data = [
        {"type": "bar", "x": middles, "y": list(spread[key]), "width": widths, "name": name,
         "marker": {"color": colour, "pattern": {"shape": shape, "size": 5, "solidity": 0.55}},
         "hovertemplate": "%{x:,.1f}<br>%{y:,}" if money else "%{x:.1%}<br>%{y:,}"}
        for key, name, colour, shape in pairs
    ]  # fmt: skip
    rows = [
        [f"{_amount(low, money)} – {_amount(high, money)}", f"{some:,.0f}", f"{none:,.0f}"]
        for low, high, some, none in zip(edges, edges[1:], spread["with"], spread["without"], strict=False)
    ]
    told = table([t("card.answer"), t("card.did"), t("card.did_not")], rows)
    x = {"title": {"text": t("card.answer")}, "tickformat": "" if money else ".0%", "rangemode": "tozero"}
    y = {"title": {"text": t("card.users")}, "tickformat": ",.0f"}
    style = {"barmode": "stack", "showlegend": True, "legend": LEGEND, "bargap": 0, "margin": _margin()}
    return figure(data, told, xaxis=x, yaxis=y, **style)


def segments(t: Words, rows: Sequence[Mapping[str, Any]], code: str) -> Figure:
    """A measure of each part of the users with its interval, one line each, below what they are parted by.

    The page has the table, which says more.
    """
    one = measure(code)
    values: list[float] = []
    spans: list[Sequence[float]] = []
    places: list[int] = []
    ticks: list[str] = []
    before = None
    for row in rows:
        if code not in row.get("metrics", {}):
            continue
        if row["by"] != before:
            before = row["by"]
            ticks.append(t("card.segments_by", by=plain(row["by_words"])))
        told = row["metrics"][code]
        places.append(len(ticks))
        ticks.append(plain(row["part_words"]))
        values.append(told["value"])
        spans.append(told.get("ci") or (told["value"], told["value"]))
    data = [
        {"type": "scatter", "mode": "markers", "x": values, "y": places, "customdata": [ticks[k] for k in places],
         "hovertemplate": "%{customdata}<br>%{x}<extra></extra>",
         "marker": {"color": BLUE, "size": 9},
         "error_x": {"array": [high - value for (_, high), value in zip(spans, values, strict=True)],
                     "arrayminus": [value - low for (low, _), value in zip(spans, values, strict=True)],
                     "symmetric": False, "color": BLUE, "thickness": 1.5, "width": 0}}
    ]  # fmt: skip
    y = {"tickvals": list(range(len(ticks))), "ticktext": ticks, "range": [len(ticks) - 0.4, -0.6]}
    y |= {"showgrid": False, "zeroline": False}
    x = {"title": {"text": in_words(t, one)}, "nticks": 6, "tickangle": 0}
    return figure(data, None, yaxis=y, xaxis=x, margin=_margin())


def _line(share: Sequence[float], caught: Sequence[float], name: str, line: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "x": list(share), "y": [0.0, *caught], "name": name,
            "line": dict(line), "hovertemplate": "%{x:.0%} → %{y:.1%}"}  # fmt: skip


def _amount(value: float, money: bool) -> str:
    return number(value, 2) if money else f"{100 * value:.1f} %"


def _margin() -> dict[str, int]:
    return {"l": 10, "r": 16, "t": 28, "b": 40}


def _wilson(rate: float, rows: float, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share.

    Examples
    --------
    >>> [round(end, 3) for end in _wilson(0.1, 100)]
    [0.055, 0.174]
    """
    if rows <= 0:
        return 0.0, 1.0
    middle = (rate + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(rate * (1 - rate) / rows + z * z / (4 * rows * rows))
    return max(min(middle - half, rate), 0.0), min(max(middle + half, rate), 1.0)
