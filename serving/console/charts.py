"""Charts as plotly.js takes them, ``data`` and ``layout``, each with the ``table`` that says the same in words.

Drawn by the reader's browser from plain JSON; nothing of plotly runs here.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

__all__ = ["BLUE", "GREY", "LINE", "ORANGE", "RED", "Figure", "figure", "plain", "table"]

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
    '&lt;b&gt;bold&lt;/b&gt; &amp; co'
    """
    return html.escape(text, quote=False)
