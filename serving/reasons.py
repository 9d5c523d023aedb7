"""From a feature's contribution to a sentence: ``configs/reasons.yaml`` against the feature catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

from configs.documents import LANGUAGES, read_yaml
from configs.errors import ConfigError

__all__ = ["Reasons", "Template", "closed_up", "write_number"]

_PART = re.compile(r"\[([^\]]*)\]")
_FIELD = re.compile(r"\{(\w+)(?::([^|}]*)(?:\|([^}]*))?)?\}")

_BETWEEN_HAN = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")


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
        self._told: dict[tuple[str, str], list[_Part]] = {}

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
        if value(feature) is None:
            return self._templates[feature].absent[lang]
        told = "".join(
            [part if isinstance(part, str) else part.told(value) or "" for part in self._parts(feature, lang)]
        )
        return told if told.isascii() else closed_up(told)

    def _parts(self, feature: str, lang: str) -> list[_Part]:
        """The sentence of a feature in pieces, taken apart when it is first told."""
        told = self._told.get((feature, lang))
        if told is not None:
            return told
        template = self._templates[feature]
        text, begin = template.texts[lang], 0
        parts: list[_Part] = []
        for group in _PART.finditer(text):
            parts += self._fields(text[begin : group.start()], feature, template.window, lang)
            parts.append(_Group(self._fields(group[1], feature, template.window, lang)))
            begin = group.end()
        parts += self._fields(text[begin:], feature, template.window, lang)
        self._told[feature, lang] = parts
        return parts

    def _fields(self, text: str, feature: str, window: int | None, lang: str) -> list[_Part]:
        parts: list[_Part] = []
        begin = 0
        for match in _FIELD.finditer(text):
            name, one, many = match.groups()
            parts.append(text[begin : match.start()])
            if name in ("w", "w2"):
                parts.append(str((window or 0) * (2 if name == "w2" else 1)))
            else:
                source = feature if name == "value" else name
                parts.append(_Field(source, self._units[source], lang, one, many))
            begin = match.end()
        return [part for part in (*parts, text[begin:]) if part != ""]


class _Field(NamedTuple):
    """A place for the value of a feature; with ``one`` (and ``many``) a count of such things."""

    feature: str
    unit: str
    lang: str
    one: str | None
    many: str | None

    def told(self, value: Callable[[str], float | None]) -> str | None:
        """The value in words, None where it is absent."""
        number = value(self.feature)
        if number is None:
            return None
        if self.one is None:
            return write_number(number, self.unit, self.lang)
        return _counted(number, self.one, self.many, self.lang)


class _Group(NamedTuple):
    """What stands in brackets: told only where everything in it is known."""

    parts: list[_Part]

    def told(self, value: Callable[[str], float | None]) -> str | None:
        """The words, None where a value is absent."""
        told = [part if isinstance(part, str) else part.told(value) for part in self.parts]
        return None if None in told else "".join(cast(list[str], told))


_Part: TypeAlias = "str | _Field | _Group"


def closed_up(text: str) -> str:
    """A text without the spaces that stand between two Chinese characters.

    Examples
    --------
    >>> closed_up("已经 23 天 没有购买")
    '已经 23 天没有购买'
    """
    return _BETWEEN_HAN.sub("", text)


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
