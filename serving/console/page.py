"""One page: a template, its words in one language, and what it shows; everything from outside is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from serving.console.assets import address, plotly_styles
from serving.console.measures import Measure, shown
from serving.console.naming import category_said
from serving.console.words import words

__all__ = ["Page", "compiled", "render"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """What a page shows; ``title`` stands in the window, ``tab`` says which entry of the navigation is lit."""

    template: str
    title: str
    tab: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


def render(page: Page, lang: str, frame: Mapping[str, Any]) -> str:
    """The page as HTML; ``frame`` is what every template knows: ``path``, ``release``, ``exported``."""
    template = _environment(lang).get_template(page.template)
    return template.render(**frame, page=page, lang=lang, **page.values)


def compiled(lang: str) -> int:
    """How many templates there are, all of them ready to be filled in for that language."""
    environment = _environment(lang)
    return len([environment.get_template(name) for name in environment.list_templates()])


def embedded(value: object) -> Markup:
    """JSON that can stand inside a ``<script type="application/json">``: nothing in it can end the element.

    Examples
    --------
    >>> "<" in embedded({"name": "</script>"})
    False
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escaped)
    return Markup(text)


@lru_cache(maxsize=2)
def _environment(lang: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    spoken = words(lang)
    made.globals.update(t=spoken, said=spoken.of, asset=address, plotly_styles=plotly_styles)
    made.filters.update(category=partial(category_said, spoken))
    made.filters.update(embedded=embedded, number=number, percent=percent, instant=instant)
    made.filters.update(measured=measured, spanned=spanned, span=span, range=bounds, legible=legible)
    return made


def number(value: float | None, digits: int = 3) -> str:
    """A number for reading, ``–`` for none; ``digits`` behind the point.

    Examples
    --------
    >>> number(1234.5, 1), number(None), number(float("nan"))
    ('1,234.5', '–', '–')
    """
    return "–" if value is None or value != value else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent, ``–`` for none.

    Examples
    --------
    >>> percent(0.1234)
    '12.3 %'
    """
    return "–" if value is None or value != value else f"{100 * value:.{digits}f} %"


def instant(value: str | None) -> str:
    """An ISO instant for reading, to the minute, in UTC.

    Examples
    --------
    >>> instant("2026-06-01T12:34:56.789+00:00"), instant(None)
    ('2026-06-01 12:34', '–')
    """
    return "–" if not value else value[:16].replace("T", " ")


def measured(value: float | None, one: Measure, money: bool = False) -> str:
    """A value of a measure, with the digits that say something."""
    return shown(one, value, money)


def spanned(ci: list[float] | None, one: Measure, money: bool = False) -> str:
    """An interval of a measure, nothing for none."""
    return f"{shown(one, ci[0], money)} – {shown(one, ci[1], money)}" if ci else ""


def span(ends: list[float] | None) -> str:
    """The two ends of what was seen, with as many digits as tell them apart.

    Examples
    --------
    >>> span([0.0, 397.4058]), span([0.01, 0.973]), span(None)
    ('0 – 397', '0.01 – 0.97', '–')
    """
    return f"{_brief(ends[0])} – {_brief(ends[1])}" if ends else "–"


def bounds(one: Mapping[str, Any], low: str, high: str) -> str:
    """The valid range between two entries, either of which may be open.

    Examples
    --------
    >>> bounds({"a": 0.0, "b": None}, "a", "b"), bounds({"a": None, "b": 1.0}, "a", "b"), bounds({}, "a", "b")
    ('≥ 0', '≤ 1', '–')
    """
    least, most = one.get(low), one.get(high)
    if least is not None and most is not None:
        return span([least, most])
    return f"≥ {_brief(least)}" if least is not None else f"≤ {_brief(most)}" if most is not None else "–"


def legible(value: object) -> str:
    """JSON for people: short lists on one line.

    Examples
    --------
    >>> print(legible({"users": 3, "ci": [0.1, 0.2]}))
    {
      "users": 3,
      "ci": [0.1, 0.2]
    }
    """
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return re.sub(r"\[\s+([^\[\]{}]{1,80}?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)


def _brief(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"
