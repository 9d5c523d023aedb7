"""From a feature's contribution to a sentence: ``configs/reasons.yaml`` against the feature catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from configs.documents import LANGUAGES, read_yaml
from configs.errors import ConfigError

__all__ = ["Reasons", "Template", "write_number"]

_PART = re.compile(r"\[([^\]]*)\]")
_FIELD = re.compile(r"\{(\w+)(?::([^|}]*)(?:\|([^}]*))?)?\}")

_BETWEEN_HAN = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")  # "23 天 没有" is written "23 天没有"


class Dictionary(Protocol):
    """What a reason needs to know of a catalogue feature."""

    @property
    def name(self) -> str:
        """The column of the vector."""

    @property
    def unit(self) -> str:
        """Of its value: days, count, currency, share, ratio, rate, ..."""


@dataclass(frozen=True)
class Template:
    """The code and the sentences of one feature; ``window`` is the number its name holds, in days."""

    code: str
    texts: Mapping[str, str]
    absent: Mapping[str, str]
    window: int | None


class Reasons:
    """The sentence of every catalogue feature, in every language."""

    def __init__(self, entries: Iterable[Mapping[str, Any]], features: Iterable[Dictionary], where: str) -> None:
        units = {feature.name: feature.unit for feature in features}
        self._units = units
        patterns = [(_pattern(entry, where), entry) for entry in entries]
        self._templates = {name: _template(name, patterns, units, where) for name in units}

    @classmethod
    def load(cls, path: Path, features: Iterable[Dictionary]) -> Reasons:
        """The reasons that ``path`` describes; a feature without one, or with two, is refused."""
        entries = read_yaml(path).get("reasons")
        if not isinstance(entries, list):
            raise ConfigError(f"{path} must hold a list", got=type(entries).__name__, expected="reasons: [...]")
        return cls(entries, features, str(path))

    def code(self, feature: str) -> str:
        """What campaign systems branch on."""
        return self._templates[feature].code

    def reads(self, feature: str, lang: str) -> list[tuple[str, str | None]]:
        """The values that decide how the sentence reads, each with the unit in which it is written; None: a count."""
        fields = _FIELD.findall(self._templates[feature].texts[lang])
        named = [
            (feature if name == "value" else name, bool(one)) for name, one, _ in fields if name not in ("w", "w2")
        ]
        if not any(name == feature for name, _ in named):
            named.append((feature, False))  # whether it is absent
        return list(dict.fromkeys((name, None if counted else self._units[name]) for name, counted in named))

    def text(self, feature: str, lang: str, value: Callable[[str], float | None]) -> str:
        """The sentence for one user; ``value`` gives that user's value of any feature, None where absent."""
        template = self._templates[feature]
        own = value(feature)
        if own is None:
            return template.absent[lang]

        def field(match: re.Match[str]) -> str:
            name, one, many = match.groups()
            if name in ("w", "w2"):
                return str((template.window or 0) * (2 if name == "w2" else 1))
            source = feature if name == "value" else name
            number = own if name == "value" else value(source)
            if number is None:
                raise _AbsentValue
            if one is None:
                return write_number(number, self._units[source], lang)
            return _counted(number, one, many, lang)

        def part(match: re.Match[str]) -> str:
            try:
                return _FIELD.sub(field, match[1])
            except _AbsentValue:
                return ""

        sentence = _FIELD.sub(field, _PART.sub(part, template.texts[lang]))
        return _BETWEEN_HAN.sub("", sentence)


class _AbsentValue(Exception):
    """A value named in a bracket is absent for this user."""


def write_number(value: float, unit: str, lang: str) -> str:
    """A value with its unit, rounded for reading.

    Examples
    --------
    >>> write_number(23.4, "days", "en"), write_number(1.04, "days", "en"), write_number(0.2, "days", "zh")
    ('23 days', '1 day', '不到 1 天')
    >>> write_number(0.368, "share", "zh"), write_number(1234.5, "currency", "en"), write_number(1.75, "ratio", "en")
    ('37%', '1,234.50', '1.8')
    """
    if unit == "days":
        if 0 <= value < 0.95:
            return "不到 1 天" if lang == "zh" else "less than a day"
        return _counted(value, "天", None, lang) if lang == "zh" else _counted(value, "day", "days", lang)
    if unit == "share":
        return f"{round(100 * value) + 0.0:.0f}%"  # + 0.0: -0.0 is written 0
    if unit == "currency":
        return f"{round(value, 2) + 0.0:,.2f}".removesuffix(".00")
    if unit == "rate":  # per day; nobody thinks in orders per day
        return _short(30 * value)
    if unit in ("nats", "index"):
        return f"{round(value, 2) + 0.0:.2f}"
    return _short(value)


def _counted(value: float, one: str, many: str | None, lang: str) -> str:
    number = _short(value)
    if lang == "en" and number == "0":
        number = "no"
    return f"{number} {one if many is None or number == '1' else many}"


def _short(value: float) -> str:
    digits = 0 if abs(value) >= 9.95 else 1
    return f"{round(value, digits) + 0.0:.{digits}f}".removesuffix(".0")


def _pattern(entry: Mapping[str, Any], where: str) -> re.Pattern[str]:
    keys = {"feature", "code", "absent", *LANGUAGES}
    if not isinstance(entry, dict) or set(entry) != keys or set(entry["absent"]) != set(LANGUAGES):
        raise ConfigError(f"{where}: incomplete reason", got=entry, expected=sorted(keys))
    escaped = re.escape(str(entry["feature"])).replace(re.escape("{w}"), r"(?P<w>\d+)")
    return re.compile(escaped)


def _template(
    name: str, patterns: list[tuple[re.Pattern[str], Mapping[str, Any]]], units: Mapping[str, str], where: str
) -> Template:
    found = [(match, entry) for pattern, entry in patterns if (match := pattern.fullmatch(name))]
    if len(found) != 1:
        raise ConfigError(
            f"{where}: {name} needs exactly one reason",
            got=[entry["feature"] for _, entry in found],
            expected=f"one entry '- feature: {name}' with code, zh, en, absent",
        )
    match, entry = found[0]
    window = match.groupdict().get("w")
    texts = {lang: str(entry[lang]) for lang in LANGUAGES}
    known = {"value", *units, *(("w", "w2") if window else ())}
    for lang, text in texts.items():
        plain = _PART.sub("", text)
        named = {field[0] for field in _FIELD.findall(text)}
        outside = {field[0] for field in _FIELD.findall(plain)} - {"value", "w", "w2"}
        if named - known or outside or _FIELD.sub("", text).strip("[]") == "":
            raise ConfigError(
                f"{where}: {entry['feature']}: {lang}",
                got=text,
                expected="{value}, {w}, or a catalogue feature inside [brackets]",
            )
    return Template(str(entry["code"]), texts, dict(entry["absent"]), int(window) if window else None)
