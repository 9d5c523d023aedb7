"""Where a search may look: the ranges of ``search: space`` in ``configs/models``, checked against the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs import ModelConfig
from configs.errors import ConfigError

__all__ = ["Choice", "Range", "Space", "space_of"]

_FORMS = ("{low: 0.01, high: 0.1, log: true}", "{low: 7, high: 31}", "{any: [true, false]}")


@dataclass(frozen=True)
class Range:
    """A number in ``[low, high]``, whole when both ends are; ``log``: its logarithm is drawn evenly."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high and not (self.whole and value % 1)


@dataclass(frozen=True)
class Choice:
    """One of a few values without an order."""

    any: tuple[Any, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.any


Space = Mapping[str, Range | Choice]


def space_of(model: ModelConfig, defaults: Mapping[str, Any]) -> tuple[Space, dict[str, Any]]:
    """The space of ``model``, and the point in it where its defaults lie: every search begins there.

    Parameters
    ----------
    defaults
        What the procedure takes where ``lightgbm:`` of the model says nothing.

    Raises
    ------
    ConfigError
        When a range has another form, or does not hold the default.

    Examples
    --------
    >>> from configs import load
    >>> from training.models import DEFAULTS
    >>> space, start = space_of(load().models["churn"], {**DEFAULTS, "trees": 250})
    >>> space["num_leaves"], start["num_leaves"]
    (Range(low=7, high=31, log=True), 15)
    """
    where = f"models/{model.name}.yaml: search: space"
    space = {name: _one(content, f"{where}: {name}") for name, content in model.search.space.items()}
    known = {**defaults, **model.lightgbm}
    for name, one in space.items():
        if known.get(name) not in one:
            raise ConfigError(
                f"{where}: {name}: the search begins at the default, which is not inside",
                got=known.get(name, "no default"),
                expected=one,
                run=f"widen the range, or give {name} under lightgbm:",
            )
    return space, {name: known[name] for name in space}


def _one(content: Any, where: str) -> Range | Choice:
    if isinstance(content, dict):
        values = content.get("any")
        if set(content) == {"any"} and isinstance(values, list) and values:
            return Choice(tuple(values))
        low, high, log = (content.get(key, False) for key in ("low", "high", "log"))
        if {"low", "high"} <= set(content) <= {"low", "high", "log"} and isinstance(log, bool):
            finite = all(type(end) in (int, float) and math.isfinite(end) for end in (low, high))
            if finite and low < high and (low > 0 or not log):
                return Range(low, high, log)
    raise ConfigError(where, got=content, expected=" or ".join(_FORMS))
