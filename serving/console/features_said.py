"""Features in words: what each means, its unit, its values as one writes them, and labels that fit beside a chart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from features.catalog import USER_FEATURES
from serving.console.charts import plain
from serving.console.words import Words
from serving.reasons import write_number

__all__ = ["FeatureWords"]

#: Features that count days: none is 0 of them, no short time.
DAYS_COUNTED = re.compile(r"_days_(\d+d|life)$")
WIDTH = {"en": 14.5, "zh": 11.0}  # of a line beside a chart, in Chinese characters


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
        """A value as its axis counts it, with its unit where the number alone has none; what an absent one means."""
        if value is None or value != value:
            return self._t.of(self._known.get(name, {}).get("absent")) or self._t("learned.absent")
        if self.unit(name) == "rate":  # the number per 30 days, as reasons write it, is not the one of the axis
            return self._t("learned.per_day", value=f"{value:.3g}")
        if value == 0 and DAYS_COUNTED.search(name):
            return self._t("learned.no_days")
        return write_number(float(value), self.unit(name), self._t.lang)

    def wrapped(self, name: str, lines: int = 3, mark: str | None = None) -> str:
        """The meaning in short lines, as plotly breaks them; ``mark`` stands behind it, in brackets.

        Examples
        --------
        >>> from serving.console.words import words
        >>> FeatureWords(None, words("en")).wrapped("purchase_gap_sd_days")
        'standard deviation of the<br>days between purchase days'
        """
        width = WIDTH[self._t.lang]
        broken = _broken(self.meaning(name), width)
        if len(broken) > lines:
            broken = [*broken[: lines - 1], broken[lines - 1] + " …"]
        return "<br>".join(map(plain, broken)) + (f" [{mark}]" if mark else "")


def _broken(text: str, width: float) -> list[str]:
    """Lines of at most ``width``, as few as it takes and about equally long; words of Latin letters stay whole."""
    pieces = re.findall(r"[\x21-\x7e]+ ?|[^\x21-\x7e]", text)
    sizes = [sum(1.0 if ord(one) > 0x2E7F else 0.55 for one in piece) for piece in pieces]
    fewest = len(_filled(pieces, sizes, width))
    tight = sum(sizes) / max(fewest, 1)
    while len(_filled(pieces, sizes, tight)) > fewest and tight < width:
        tight += 0.5
    return _filled(pieces, sizes, tight)


def _filled(pieces: list[str], sizes: list[float], width: float) -> list[str]:
    lines, used = [""], 0.0
    for piece, size in zip(pieces, sizes, strict=True):
        if lines[-1] and used + size > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
            used = 0.0
        lines[-1] += piece
        used += size
    return lines
