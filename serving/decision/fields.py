"""Reading one mapping of a rule file: every field by name and kind; the path of the one at fault."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from configs.errors import RuleError

__all__ = ["Fields", "Refused", "microseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Refused(RuleError):
    """A value that cannot be meant; ``keys`` is its path from the top of the file, so that its line can be found."""

    def __init__(self, keys: Sequence[str | int], what: str, *, got: object = None, expected: object = None) -> None:
        self.keys, self.problem = tuple(keys), what
        super().__init__(f"{'.'.join(map(str, keys))}: {what}", got=got, expected=expected)


class Fields:
    """One mapping whose fields are ``known``; anything else in it is refused.

    Examples
    --------
    >>> Fields({"limit": 3}, ["caps", 0], {"limit"}).number("limit", low=1)
    3.0
    >>> Fields({"limt": 3}, ["caps", 0], {"limit"})
    Traceback (most recent call last):
    serving.decision.fields.Refused: caps.0.limt: unknown field
      got: limt
      expected: ['limit']
    """

    def __init__(self, content: Any, keys: Sequence[str | int], known: Collection[str]) -> None:
        if not isinstance(content, Mapping):
            raise Refused(keys, "must be a mapping", got=type(content).__name__, expected="field: value lines")
        self.content, self.keys = content, tuple(keys)
        for name in content:
            if name not in known:
                raise Refused((*keys, str(name)), "unknown field", got=name, expected=sorted(known))

    def refuse(self, name: str, what: str, expected: object = None) -> Refused:
        """The error on one field, to be raised."""
        return Refused((*self.keys, name), what, got=self.content.get(name), expected=expected)

    def given(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.content.get(name) is not None

    def required(self, name: str, meaning: str) -> None:
        """Refuse the mapping if the field is absent."""
        if not self.given(name):
            raise self.refuse(name, "is missing", expected=meaning)

    def number(
        self, name: str, default: float | None = None, *, low: float = -math.inf, high: float = math.inf
    ) -> float | None:
        """A number in [low, high], at most 1e15 in size."""
        if not self.given(name):
            return default
        value = self.content[name]
        wanted = f"a number in [{low:g}, {high:g}]" if math.isfinite(low) else "a number"
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not abs(value) <= 1e15:  # also refuses what is not finite
            raise self.refuse(name, "is not a number", expected=wanted)
        if not low <= value <= high:
            what = "is negative" if low == 0 and value < 0 else "is out of range"
            raise self.refuse(name, what, expected=wanted)
        return float(value)

    def whole(self, name: str, default: int, *, low: int = 0, high: int = 1_000_000_000) -> int:
        """A whole number in [low, high]."""
        value = self.number(name, float(default), low=low, high=high)
        assert value is not None
        if value != int(value):
            raise self.refuse(name, "is not a whole number", expected=f"a whole number in [{low}, {high}]")
        return int(value)

    def text(self, name: str, default: str | None = None, *, one_of: Collection[str] | None = None) -> str | None:
        """A text that is not empty, of ``one_of`` if given."""
        if not self.given(name):
            return default
        value = self.content[name]
        if not isinstance(value, str) or not value.strip() or len(value) > 2000:
            raise self.refuse(name, "is not a text", expected="a text of 1 to 2000 characters")
        if one_of is not None and value not in one_of:
            raise self.refuse(name, f"unknown {name} {value!r}", expected=sorted(one_of))
        return value

    def texts(self, name: str, *, one_of: Collection[str] | None = None, what: str | None = None) -> list[str]:
        """A list of texts (one text counts as a list of one); absent is the empty list."""
        value = self.content.get(name)
        values = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(values, list | tuple) or not all(isinstance(v, str) and v.strip() for v in values):
            raise self.refuse(name, "is not a list of texts", expected="[text, ...]")
        for place, one in enumerate(values):
            if one_of is not None and one not in one_of:
                keys = (*self.keys, name) if isinstance(value, str) else (*self.keys, name, place)
                raise Refused(keys, f"unknown {what or name} {one!r}", got=one, expected=sorted(one_of))
        return list(dict.fromkeys(values))

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.content.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(name, "is not true or false", expected="true or false")
        return default if value is None else value

    def weights(self, name: str) -> dict[str, float]:
        """A mapping from a name to a finite number; absent is the empty mapping."""
        value = {} if self.content.get(name) is None else self.content[name]
        if not isinstance(value, Mapping):
            raise self.refuse(name, "must be a mapping", expected="name: number lines")
        read = Fields(value, (*self.keys, name), set(value))
        return {str(key): read.number(key) or 0.0 for key in value}

    def instant(self, name: str) -> int | None:
        """Microseconds since 1970 UTC; a date is its midnight, a time without a zone is UTC."""
        if not self.given(name):
            return None
        try:
            return microseconds(self.content[name])
        except (ValueError, TypeError, OverflowError):
            raise self.refuse(name, "is not an instant", expected="2026-11-21 or 2026-11-21T10:00:00Z") from None


def microseconds(value: Any) -> int:
    """A date, a datetime or an ISO text as microseconds since 1970 UTC.

    Examples
    --------
    >>> microseconds("1970-01-02"), microseconds("1970-01-01T08:00:00+08:00")
    (86400000000, 0)
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise TypeError(value)
    since = (value.replace(tzinfo=UTC) if value.tzinfo is None else value) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
