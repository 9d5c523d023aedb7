"""People as dots: what a feature contributes to each of them, as shap's own plots show it; none is placed by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.console.charts import GREY, INK, LINE, SOFT, Figure, figure, plain, table
from serving.console.features_said import FeatureWords
from serving.console.words import Words

__all__ = ["beeswarm", "categories", "dependence", "drawn_every", "signed", "titled"]

Floats = NDArray[np.float64]
Content = Mapping[str, Any]

IN_SWARM, MOST_DRAWN = 12, 200
BINS, HALF = 64, 0.42  # a swarm is laid out in so many columns, and fills so much of the way to its neighbour
# Low to high is light to dark, for whoever tells no colours apart; red and blue say which way a score goes. The same
# colours stand in console.css: a colour bar of plotly.js would write style attributes, which the policy forbids.
VALUES = [[0.0, "#f3b73b"], [0.5, "#d1607a"], [1.0, "#4a2377"]]
SCALE = {"colorscale": VALUES, "cmin": 0, "cmax": 1, "showscale": False}
MARGIN = {"l": 10, "r": 10, "t": 8, "b": 44}


def beeswarm(content: Content, said: FeatureWords, t: Words) -> Figure:
    """A dot per person and feature: across its contribution, coloured by how large the value is among the sample."""
    names, step = content["features"][:IN_SWARM], drawn_every(content)
    xs: list[float] = []
    ys: list[float] = []
    colours: list[float | None] = []
    texts: list[str] = []
    rows = []
    for place, name in enumerate(names):
        phi, values = np.array(content["contributions"][name], float), _floats(content["values"][name])
        drawn = phi[::step]
        xs += drawn.round(4).tolist()
        ys += np.round(place + HALF * _laid_out(drawn), 3).tolist()
        colours += _places(values)[::step]
        texts += [plain(said.value(name, value)) for value in content["values"][name][::step]]
        low, middle, high = np.quantile(phi, [0.1, 0.5, 0.9])
        rows.append([said.full(name), signed(low), signed(middle), signed(high), signed(phi.min()), signed(phi.max())])
    known = [place for place, colour in enumerate(colours) if colour is not None]
    absent = [place for place, colour in enumerate(colours) if colour is None]
    labels = [said.wrapped(name) for name in names]
    dots = [
        _dots(xs, ys, texts, known, {"color": [colours[k] for k in known], **SCALE}),
        _dots(xs, ys, texts, absent, {"color": "rgba(0,0,0,0)", "line": {"color": GREY, "width": 1}}),
    ]
    told = table(
        [t("learned.feature"), *(t(f"learned.at_{part}") for part in ("10", "50", "90", "least", "most"))], rows
    )
    return figure(
        dots,
        told,
        yaxis={**categories(labels), "range": [len(names) - 0.5, -0.5]},
        xaxis={"title": titled(t("learned.axis_" + content["unit"])), "zeroline": True},
        margin=MARGIN,
    )


def drawn_every(content: Content) -> int:
    """Which of the sample are drawn: every so many-th person, or a browser needs longer for the dots than for all else.

    The table beside the chart is of the whole sample.
    """
    return -(-int(content["sample"]["rows"]) // MOST_DRAWN)


def dependence(content: Content, feature: str, partner: str | None, said: FeatureWords, t: Words) -> Figure:
    """Each person's value of one feature, and what it contributes; coloured by the feature it speaks with most."""
    values, phi = _floats(content["values"][feature]), np.array(content["contributions"][feature], float)
    colours = [0.5] * len(values) if partner is None else _places(_floats(content["values"][partner]))
    known = np.flatnonzero(~np.isnan(values))
    absent = np.flatnonzero(np.isnan(values))
    texts = [plain(said.value(feature, one)) for one in content["values"][feature]]
    if partner is not None:
        theirs = [plain(said.value(partner, one)) for one in content["values"][partner]]
        texts = [f"{own}<br>{other}" for own, other in zip(texts, theirs, strict=True)]
    low, high = (float(values[known].min()), float(values[known].max())) if len(known) else (0.0, 0.0)
    span = high - low or 1.0
    beside = low - 0.08 * span
    xs = [beside if np.isnan(one) else float(one) for one in values]
    ys = phi.round(4).tolist()
    scale = {} if partner is None else SCALE
    solid = [k for k in known.tolist() if colours[k] is not None]
    pale = [k for k in known.tolist() if colours[k] is None]
    hollow = {"color": "rgba(0,0,0,0)", "line": {"color": GREY, "width": 1.2}}
    traces = [
        _dots(xs, ys, texts, solid, {"color": [colours[k] for k in solid] if partner else INK, "size": 7, **scale}),
        _dots(xs, ys, texts, pale, {**hollow, "size": 7}),
        _dots(xs, ys, texts, absent.tolist(), {**hollow, "size": 8, "symbol": "diamond"}),
    ]
    notes = []
    if len(absent):
        note = {"x": beside, "y": 0.02, "yref": "paper", "text": t("learned.absent"), "showarrow": False}
        beneath = {"textangle": -90, "xanchor": "center", "yanchor": "bottom"}
        notes.append({**note, **beneath, "font": {"size": 11, "color": SOFT}, "bgcolor": "rgba(255,255,255,0.8)"})
    across: dict[str, Any] = {"title": titled(said.axis(feature))}
    across["tickformat"] = ".0%" if said.unit(feature) == "share" else ""
    if len(absent):  # no further: no tick stands for a value that nobody has
        across["range"] = [beside - 0.04 * span, high + 0.04 * span]
    return figure(
        traces,
        _by_value(values, phi, feature, said, t),
        xaxis=across,
        yaxis={"title": titled(t("learned.axis_" + content["unit"])), "zeroline": True},
        annotations=notes,
        margin={"l": 10, "r": 10, "t": 18, "b": 44},
    )


def categories(labels: Sequence[str]) -> dict[str, Any]:
    """An axis of names: places keep two features with the same words apart, ticks name them."""
    ticks = {"tickvals": list(range(len(labels))), "ticktext": list(labels), "tickfont": {"size": 11.5}}
    return {**ticks, "showgrid": True, "gridcolor": LINE, "zeroline": False, "ticklabelstandoff": 6}


def titled(text: str) -> dict[str, Any]:
    """The title of an axis, quieter than the chart's."""
    return {"text": text, "font": {"size": 12, "color": SOFT}, "standoff": 10}


def signed(value: float) -> str:
    """A contribution, with its sign."""
    return f"{value + 0.0:+.3f}"


def _laid_out(phi: Floats) -> Floats:
    """Where each dot of a row stands beside the line, in [-1, 1]: dots of one column beside each other, none random."""
    span = float(np.ptp(phi)) or 1.0
    column = np.minimum(((phi - phi.min()) / span * BINS).astype(int), BINS - 1)
    place = np.zeros(len(phi))
    for one in np.unique(column):
        inside = np.flatnonzero(column == one)
        rank = np.arange(len(inside))
        place[inside] = np.where(rank % 2 == 1, 1, -1) * ((rank + 1) // 2)
    return np.asarray(place / max(float(np.abs(place).max()), 6.0))


def _places(values: Floats) -> list[float | None]:
    """How large each value is among those that are known, in [0, 1]; equal ones alike, None where absent."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return [None] * len(values)
    order = np.sort(known)
    low, high = np.searchsorted(order, values, "left"), np.searchsorted(order, values, "right")
    place = (low + high - 1) / max(2 * (len(order) - 1), 1)
    return [
        None if np.isnan(one) else round(float(min(max(at, 0), 1)), 2) for one, at in zip(values, place, strict=True)
    ]


def _dots(
    xs: Sequence[float], ys: Sequence[float], texts: Sequence[str], kept: Sequence[int], marker: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [xs[k] for k in kept],
        "y": [ys[k] for k in kept],
        "text": [texts[k] for k in kept],
        "hovertemplate": "%{x:+.3f}<br>%{text}<extra></extra>",
        "marker": {"size": 5, "opacity": 0.85, **marker},
    }


def _by_value(values: Floats, phi: Floats, feature: str, said: FeatureWords, t: Words) -> dict[str, Any]:
    """The same as a table: fifths of the people by their value, and the mean contribution of each."""
    known = np.flatnonzero(~np.isnan(values))
    parts = np.array_split(known[np.argsort(values[known], kind="stable")], 5) if len(known) else []
    rows = [
        [f"{said.value(feature, values[one].min())} – {said.value(feature, values[one].max())}", str(len(one)),
         signed(float(phi[one].mean()))]
        for one in parts if len(one)
    ]  # fmt: skip
    if len(known) < len(values):
        gone = np.isnan(values)
        rows.append([said.value(feature, None), str(int(gone.sum())), signed(float(phi[gone].mean()))])
    return table([said.axis(feature), t("learned.people"), t("learned.mean_contribution")], rows)


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)
