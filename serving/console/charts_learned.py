"""The charts of what a version has learned, beside those of `charts_swarm`: weights, calibration, pairs, parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.console.charts import BLUE, GREY, INK, RED, Figure, figure, plain, table
from serving.console.charts_swarm import MARGIN, categories, titled
from serving.console.features_said import FeatureWords
from serving.console.parts import natural
from serving.console.words import Words

__all__ = ["bars", "curve", "letters", "pairs", "segments"]

Floats = NDArray[np.float64]
Content = Mapping[str, Any]

IN_BARS, IN_PAIRS, IN_SEGMENTS = 20, 10, 12
CLEAR = 0.2  # a weaker correlation of value and contribution is no direction
ARROWS = {"up": "↑", "down": "↓", "none": "↕"}


def bars(content: Content, said: FeatureWords, t: Words) -> Figure:
    """The mean size of each feature's contribution; an arrow says which way more of it moves the score."""
    groups = letters(content)
    shown = content["bars"][:IN_BARS]
    ways = [_way(bar["direction"]) for bar in shown]
    labels = [said.wrapped(bar["feature"], 2, groups.get(bar["group"])) for bar in shown]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [bar["mean_abs"] for bar in shown],
        "y": list(range(len(shown))),
        "marker": {"color": [{"up": RED, "down": BLUE, "none": GREY}[way] for way in ways]},
        "text": [
            f"{ARROWS[way]} {100 * bar['share']:.{0 if bar['share'] >= 0.0995 else 1}f} %"
            for bar, way in zip(shown, ways, strict=True)
        ],
        "textposition": "auto",
        "insidetextanchor": "end",
        "customdata": [plain(said.full(bar["feature"])) for bar in shown],
        "hovertemplate": "%{customdata}<br>%{x:.3f} · %{text}<extra></extra>",
    }
    heads = ("feature", "mean_abs", "share", "direction", "group")
    told = table(
        [t(f"learned.{name}") for name in heads],
        [
            [
                said.full(bar["feature"]),
                f"{bar['mean_abs']:.4f}",
                f"{100 * bar['share']:.2f} %",
                t(f"learned.way_{_way(bar['direction'])}"),
                groups.get(bar["group"]) or "–",
            ]
            for bar in content["bars"]
        ],
    )
    most = max((bar["mean_abs"] for bar in shown), default=1.0)
    return figure(
        [trace],
        told,
        yaxis={**categories(labels), "autorange": "reversed"},
        xaxis={"range": [0, most * 1.04]},
        margin=MARGIN,
        bargap=0.3,
    )


def curve(content: Content, t: Words) -> Figure:
    """How the raw score becomes the answer; the thick part is where the middle half of the sample lies."""
    raw, answer = (np.array(content["curve"][name], float) for name in ("raw", "answer"))
    at = content["curve"]["quantiles"]
    middle = np.linspace(at[2], at[4], 15)
    amount = content["unit"] == "log_amount"
    line = {"type": "scatter", "mode": "lines", "hovertemplate": "%{x:.2f} → %{y:.3~f}<extra></extra>"}
    traces = [
        {**line, "x": _short(raw), "y": _short(answer), "line": {"color": GREY, "width": 2}},
        {**line, "x": _short(middle), "y": _short(np.interp(middle, raw, answer)), "line": {"color": INK, "width": 4}},
    ]
    digits = 2 if amount else 4
    said = table(
        [t("learned.axis_raw_" + content["unit"]), t("learned.answer_" + content["unit"])],
        [[f"{x:.3f}", f"{y:,.{digits}f}"] for x, y in zip(raw[::4], answer[::4], strict=True)],
    )
    return figure(
        traces,
        said,
        xaxis={"title": titled(t("learned.axis_raw_" + content["unit"]))},
        yaxis={"title": titled(t("learned.answer_" + content["unit"])), "rangemode": "tozero"},
        margin={"l": 10, "r": 16, "t": 8, "b": 44},
    )


def pairs(content: Content, said: FeatureWords, t: Words) -> Figure:
    """The strongest pairs of features: what they say together beyond what each says alone."""
    listed = sorted(content["interactions"], key=lambda one: -one["mean_abs"])
    shown = listed[:IN_PAIRS]
    labels = [f"{said.wrapped(one['a'], 2)} ×<br>{said.wrapped(one['b'], 2)}" for one in shown]
    full = [f"{said.full(one['a'])} × {said.full(one['b'])}" for one in listed]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [one["mean_abs"] for one in shown],
        "y": list(range(len(shown))),
        "marker": {"color": "#6b7c93"},
        "text": [f"{100 * one['share']:.1f} %" for one in shown],
        "textposition": "auto",
        "insidetextanchor": "end",
        "customdata": [plain(one) for one in full[: len(shown)]],
        "hovertemplate": "%{customdata}<br>%{x:.3f} · %{text}<extra></extra>",
    }
    rows = [
        [label, f"{one['mean_abs']:.4f}", f"{100 * one['share']:.2f} %"]
        for label, one in zip(full, listed, strict=True)
    ]
    most = max((one["mean_abs"] for one in shown), default=1.0)
    return figure(
        [trace],
        table([t("learned.pair"), t("learned.mean_abs"), t("learned.share_of_all")], rows),
        yaxis={**categories(labels), "autorange": "reversed"},
        xaxis={"range": [0, most * 1.04]},
        margin=MARGIN,
        bargap=0.35,
    )


def segments(content: Content, by: str) -> dict[str, Any]:
    """The share of each of the heaviest features in each part of the customers, as a table with ``shade`` 0 to 9.

    ``parts`` are those of the file in their natural order, ``rows`` of them one per feature with a cell (share, shade)
    per part; None where the feature is not among the heaviest of the part.
    """
    parts = sorted(content["by_segment"][by], key=lambda one: natural(by, one["part"]))
    share = [{top["feature"]: top["share"] for top in one["top"]} for one in parts]
    heaviest: dict[str, float] = {}
    for shares in share:
        for name, size in shares.items():
            heaviest[name] = max(heaviest.get(name, 0.0), size)
    names = sorted(heaviest, key=lambda name: -heaviest[name])[:IN_SEGMENTS]
    most = max(heaviest.values(), default=1.0)
    rows = [
        (name, [(one[name], min(9, int(10 * one[name] / most))) if name in one else None for one in share])
        for name in names
    ]
    return {"parts": parts, "rows": rows}


def letters(content: Content) -> dict[str | None, str]:
    """A letter for each group of correlated features, in the order of their weight; numbers from the 27th on."""
    return {
        group["id"]: chr(ord("A") + place) if place < 26 else str(place + 1)
        for place, group in enumerate(content["groups"])
    }


def _way(direction: float | None) -> str:
    return "none" if direction is None or abs(direction) < CLEAR else "up" if direction > 0 else "down"


def _short(values: Floats) -> list[float]:
    return [float(f"{one:.4g}") for one in values]
