"""Features in words: what each means, its unit, its values as one writes them, and labels that fit beside a chart."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from features.catalog import USER_FEATURES
from serving.console.words import Words
from serving.reasons import write_number

__all__ = ["FeatureWords", "plain"]

WIDTH = {"en": 27, "zh": 13}  # characters of a line beside a chart


class FeatureWords:
    """The words of a version's card, as it was trained; of the catalogue where there is no card."""

    def __init__(self, card: Mapping[str, Any] | None, t: Words) -> None:
        self._t = t
        self._known: dict[str, Mapping[str, Any]] = {
            one.name: {"meaning": one.meaning, "unit": one.unit, "absent": one.absent} for one in USER_FEATURES
        }
        self._known |= {one["name"]: one for one in (card or {}).get("features", [])}

    def meaning(self, name: str) -> str:
        """What a feature means; its name where nobody says."""
        return self._t.of(self._known.get(name, {}).get("meaning")) or name

    def full(self, name: str) -> str:
        """Meaning and name: for tables and hovering, where there is room."""
        meaning = self.meaning(name)
        return name if meaning == name else f"{meaning} ({name})"

    def unit(self, name: str) -> str:
        """The unit of its values, as the catalogue writes it."""
        return str(self._known.get(name, {}).get("unit", ""))

    def axis(self, name: str) -> str:
        """Meaning and unit: the title of an axis."""
        unit = self._t.or_code("learned.unit", self.unit(name)) if self.unit(name) else ""
        return plain(f"{self.meaning(name)} ({unit})" if unit else self.meaning(name))

    def value(self, name: str, value: float | None) -> str:
        """A value with its unit; what an absent one means."""
        if value is None or value != value:
            return self._t.of(self._known.get(name, {}).get("absent")) or self._t("learned.absent")
        return write_number(float(value), self.unit(name), self._t.lang)

    def wrapped(self, name: str, lines: int = 3, mark: str | None = None) -> str:
        """The meaning in short lines, as plotly breaks them; ``mark`` stands behind it, in brackets.

        Examples
        --------
        >>> from serving.console.words import words
        >>> FeatureWords(None, words("en")).wrapped("purchase_gap_sd_days")
        'standard deviation of the<br>days between purchase days'
        """
        meaning, width = self.meaning(name), WIDTH[self._t.lang]
        if self._t.lang == "zh":
            broken: list[str] = []
            line, used = "", 0.0
            for part in re.findall(rf"[\x21-\x7e]{{1,{2 * width}}}|[^\x21-\x7e]", meaning):
                size = len(part) * (0.55 if part.isascii() else 1)
                if line and used + size > width:
                    broken, line, used = [*broken, line], "", 0.0
                line, used = line + part, used + size
            broken.append(line)
        else:
            broken = textwrap.wrap(meaning, width)
        if len(broken) > lines:
            broken = [*broken[: lines - 1], broken[lines - 1].rstrip()[: width - 1] + "…"]
        return "<br>".join(map(plain, broken)) + (f" [{mark}]" if mark else "")


def plain(text: str) -> str:
    """Plotly reads tags in its labels."""
    return html.escape(text, quote=False)
