"""The charts of one user: scores over weeks, what moved a score, and a score along one feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serving.console.charts import BLUE, GREY, ORANGE, RED, Figure, figure, plain, table
from serving.console.explained import Waterfall
from serving.console.history import History

if TYPE_CHECKING:
    from serving.console.words import Words

__all__ = ["over_time", "shares", "whole_range"]

_DASHES = ("solid", "dot", "dash", "longdash", "dashdot")
_INK, _LINE, _SOFT = "#1c2733", "#e3e8ee", "#5c6b7a"
_LABEL_PX = 15


def over_time(t: Words, history: History, names: dict[str, str], chosen: str, money: bool) -> Figure:
    """One line per head that has a score, the chosen one strong; ``names`` are what the heads are called."""
    days = [as_of[:10] for as_of in history.as_ofs]
    heads = [head for head, scores in history.heads.items() if head == chosen or any(s is not None for s in scores)]
    heads.sort(key=lambda head: head == chosen)  # the chosen one is drawn last, above the others
    others = [head for head in heads if head != chosen]
    traces = []
    for head in heads:
        own = head == chosen
        look = {"color": BLUE, "width": 3} if own else {"color": GREY, "width": 1.5, "dash": _look(others.index(head))}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": days,
                "y": history.heads[head],
                "name": plain(names[head]),
                "line": look,
                "marker": {"size": 8 if own else 5, "color": look["color"]},
                "connectgaps": False,
                "hovertemplate": "%{x}<br>%{y:,.2f}<extra>%{fullData.name}</extra>"
                if money
                else "%{x}<br>%{y:.1%}<extra>%{fullData.name}</extra>",
            }
        )
    rows = [
        [day, *(_written(history.heads[head][place]) for head in reversed(heads))] for place, day in enumerate(days)
    ]
    said = table([t("user.day"), *(names[head] for head in reversed(heads))], rows)
    legend = {"orientation": "h", "y": -0.18, "x": 0, "xanchor": "left", "yanchor": "top", "traceorder": "reversed"}
    return figure(
        traces,
        said,
        showlegend=len(heads) > 1,
        legend=legend,
        xaxis={"type": "date", "tickformat": "%m-%d", "showgrid": False},
        yaxis={"rangemode": "tozero", "tickformat": ",.0f" if money else ".0%"},
        hovermode="closest",
    )


def shares(t: Words, one: Waterfall, beside: bool = False) -> Figure:
    """The waterfall, words above each bar: base, the strongest features, all others as one, the raw score.

    ``beside``: the page has a table of the same beside it.
    """
    rest = t("user.others", n=len(one.others))
    bars = [(share.text, share.contribution) for share in one.strongest] + [(rest, one.rest)] * bool(one.others)
    labels = [t(one.base_key), *(label for label, _ in bars), t("user.raw")]
    values = [one.base, *(value for _, value in bars), one.raw]
    places = list(range(len(labels)))
    trace = {
        "type": "waterfall",
        "orientation": "h",
        "y": places,
        "x": values,
        "measure": ["absolute", *("relative" for _ in bars), "total"],
        "width": 0.42,
        "text": [f"{value:+.3f}" for value in values],
        "textposition": "outside",
        "textfont": {"size": 12, "color": _SOFT},
        "cliponaxis": False,
        "customdata": [plain(label) for label in labels],
        "hovertemplate": "%{customdata}<br>%{text}<extra></extra>",
        "increasing": {"marker": {"color": RED}},
        "decreasing": {"marker": {"color": BLUE}},
        "totals": {"marker": {"color": GREY}},
        "connector": {"line": {"color": _LINE, "width": 1}},
    }
    above = [
        {
            "xref": "paper",
            "x": 0,
            "y": place,
            "yref": "y",
            "yshift": _LABEL_PX,
            "text": plain(_short(label)),
            "showarrow": False,
            "xanchor": "left",
            "align": "left",
            "font": {"size": 12.5, "color": _INK},
            "bgcolor": "rgba(255,255,255,0.85)",  # the line of zero may pass below
            "borderpad": 0,
        }
        for place, label in enumerate(labels)
    ]
    # Room at both ends for the numbers outside of the bars.
    steps, at = [one.base, one.raw], one.base
    for _, value in bars:
        at += value
        steps.append(at)
    # Zero is shown unless the whole way lies far from it, as that of a logarithm does.
    span = max(steps) - min(steps)
    if min(map(abs, steps)) < 3 * span or not span:
        steps.append(0.0)
    room = 0.2 * (max(steps) - min(steps) or 1.0)
    rows = [[label, repr(value)] for label, value in zip(labels, values, strict=True)]
    return figure(
        [trace],
        None if beside else table([t("user.feature"), t("user.contribution")], rows),
        annotations=above,
        yaxis={"showticklabels": False, "showgrid": False, "zeroline": False, "range": [len(labels) - 0.4, -0.85]},
        xaxis={**_titled(t(f"user.{one.unit}")), "showgrid": False, "range": [min(steps) - room, max(steps) + room]},
        margin={"l": 4, "r": 4, "t": 4, "b": 36},
    )


def whole_range(
    t: Words,
    name: str,
    points: Sequence[float],
    scores: Sequence[float | None],
    now: tuple[float | None, float | None],
    then: tuple[float | None, float | None] | None,
    absent: float | None,
    money: bool,
) -> Figure:
    """The score along one feature; the present value is marked, and with ``then`` the one that is asked about.

    ``absent`` is the score without any value, where that can be: its mark stands left of the line, and so does every
    other whose value is None.
    """
    above = "<br>%{y:,.2f}<extra></extra>" if money else "<br>%{y:.1%}<extra></extra>"
    hover, none = "%{x:.4~g}" + above, t("user.no_value")
    line = {"color": _INK, "width": 2, "shape": "hv"}
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "x": list(points), "y": list(scores), "line": line, "hovertemplate": hover}
    ]
    beside = points[0] - 0.06 * (points[-1] - points[0])
    marks = [(t("user.present"), now, BLUE, "circle")]
    marks += [(t("user.asked"), then, ORANGE, "diamond")] if then else []
    if absent is not None and all(at[0] is not None for _, at, *_ in marks):
        marks.append(("", (None, absent), _SOFT, "circle-open"))
    for label, at, colour, symbol in marks:
        if at[1] is None:
            continue
        said = label if at[0] is not None else t("user.without", label=label) if label else none
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": [beside if at[0] is None else at[0]],
                "y": [at[1]],
                "text": [said],
                "textposition": "bottom right",
                "textfont": {"size": 12, "color": colour},
                "marker": {"size": 12, "color": colour, "symbol": symbol, "line": {"color": "#fff", "width": 2}},
                "cliponaxis": False,
                "hovertemplate": none + above if at[0] is None else hover,
            }
        )
    every = max(1, len(points) // 12)
    kept = [place for place in range(len(points)) if place % every == 0 or place == len(points) - 1]
    rows = [[f"{points[place]:.6g}", _written(scores[place])] for place in kept]
    rows += [] if absent is None else [[none, _written(absent)]]
    return figure(
        traces,
        table([name, t("user.expected") if money else t("user.probability")], rows),
        xaxis={**_titled(plain(name)), "showgrid": False},
        yaxis={"rangemode": "tozero", "tickformat": ",.0f" if money else ".0%"},
        margin={"l": 10, "r": 16, "t": 26, "b": 36},
    )


def _titled(text: str) -> dict[str, Any]:
    return {"title": {"text": text, "font": {"size": 12.5, "color": _SOFT}, "standoff": 6}}


def _look(place: int) -> str:
    return _DASHES[1 + place % (len(_DASHES) - 1)]


def _written(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}" if score < 1 else f"{score:,.2f}"


def _short(label: str, columns: int = 48) -> str:
    """The beginning of a label that is too wide for a line; a Chinese character counts double."""
    wide = 0
    for place, character in enumerate(label):
        wide += 2 if character > "\u2e7f" else 1
        if wide > columns:
            return label[:place] + "…"
    return label
