"""Charts as plotly.js takes them, ``data`` and ``layout``, each with the ``table`` that says the same in words.

Drawn by the reader's browser from plain JSON; nothing of plotly runs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["BLUE", "GREY", "LINE", "ORANGE", "RED", "Figure", "figure", "plain", "table", "waterfall"]

#: ``{"data": [...], "layout": {...}, "table": {...} or None}``
Figure = dict[str, Any]

BLUE, RED, ORANGE, GREY = "#1f5fa8", "#b3261e", "#d9730d", "#9aa5b1"
INK, SOFT, LINE = "#1c2733", "#5c6b7a", "#e3e8ee"
FONT = 'system-ui, "Segoe UI", "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif'


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, Any]:
    """What a chart shows, row by row."""
    return {"columns": list(columns), "rows": [list(row) for row in rows]}


def figure(data: Sequence[dict[str, Any]], said: dict[str, Any] | None = None, **layout: Any) -> Figure:
    """A chart in the style of the house; ``layout`` as plotly.js names it, laid over the style."""
    axis = {"gridcolor": LINE, "zerolinecolor": GREY, "linecolor": LINE, "automargin": True, "tickfont": {"size": 12}}
    style: dict[str, Any] = {
        "font": {"family": FONT, "size": 13, "color": INK},
        "margin": {"l": 10, "r": 16, "t": 8, "b": 36},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hoverlabel": {"font": {"family": FONT}},
        "dragmode": False,
    }
    style |= layout
    for name in ("xaxis", "yaxis", *(key for key in layout if key.startswith(("xaxis", "yaxis")))):
        style[name] = {**axis, **layout.get(name, {})}
        if title := style[name].get("title"):
            style[name]["title"] = {"font": {"size": 13, "color": SOFT}, "standoff": 8, **title}
    return {"data": list(data), "layout": style, "table": said}


def plain(text: str) -> str:
    """A text from outside as plotly shows it letter by letter: it would take ``<b>`` and ``<a href>`` for its own.

    Examples
    --------
    >>> plain("<b>bold</b> & co")
    '&lt;b>bold&lt;/b> &amp; co'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;")


def waterfall(base: float, bars: Sequence[tuple[str, float]], raw: float, words: tuple[str, str, str, str]) -> Figure:
    """From the base value through every bar, strongest first, to the raw score, in log-odds.

    Parameters
    ----------
    bars
        Label and contribution; they and ``base`` add up to ``raw``.
    words
        What the base, the raw score, the column of features and that of contributions are called.
    """
    of_base, of_raw, of_feature, of_contribution = words
    labels = [of_base, *(label for label, _ in bars), of_raw]
    values = [base, *(value for _, value in bars), raw]
    trace = {
        "type": "waterfall",
        "orientation": "h",
        "y": list(range(len(labels))),
        "x": values,
        "measure": ["absolute", *("relative" for _ in bars), "total"],
        "text": [f"{value:+.3f}" if 0 < place <= len(bars) else f"{value:.3f}" for place, value in enumerate(values)],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": labels,
        "hovertemplate": "%{customdata}<br>%{x}<extra></extra>",
        "increasing": {"marker": {"color": RED}},
        "decreasing": {"marker": {"color": BLUE}},
        "totals": {"marker": {"color": GREY}},
        "connector": {"line": {"color": LINE, "width": 1}},
    }
    said = table(
        [of_feature, of_contribution], [[label, repr(value)] for label, value in zip(labels, values, strict=True)]
    )
    # Two features may have the same words: places keep them apart, ticks name them.
    ticks = {"tickvals": list(range(len(labels))), "ticktext": labels, "autorange": "reversed", "showgrid": False}
    return figure([trace], said, yaxis=ticks, xaxis={"title": {"text": of_contribution}})
