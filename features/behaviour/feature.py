"""What one feature is: its place in the dictionary and its value, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

__all__ = [
    "CHANNELS",
    "MONEY",
    "NATS",
    "PIECES",
    "Facts",
    "Feature",
    "Value",
    "days_since",
    "share",
    "trend",
    "windowed",
]

MONEY = 10_000  # units in which money is summed, per unit of currency
PIECES = 1_000  # units in which pieces are summed, per piece
NATS = float(1 << 56)  # units in which entropy is summed, per nat: sums of 64 bits reach 128 nats

#: The channels that have a share of their own; any other counts as "other".
CHANNELS = ("app", "web", "store", "wecom")

#: The table of sums at (user, as_of) that `features.behaviour.facts` computes; a feature reads its columns.
Facts = Any
#: An ibis expression over one row of facts.
Value = Any


@dataclass(frozen=True)
class Feature:
    """One column of the user vector.

    Parameters
    ----------
    name
        ``<what>_<window>d``, ``<what>_life`` or a plain noun; unique in the catalogue.
    group
        Which part of the behaviour it describes.
    window_days
        It sees ``(as_of - window_days, as_of]``; None means everything up to ``as_of``.
    unit
        days, count, currency, share (0 to 1), ratio, rate (per day), nats, flag or index.
    meaning
        A phrase in ``en`` and ``zh`` that completes a reason: "orders in the last 30 days".
    absent
        What null means.
    low, high
        The valid range, both ends included; None is unbounded.
    needs
        Parts of the source without which the feature is null for everybody: an event kind, or one of ``channel``,
        ``category``, ``item``, ``amount``, ``quantity``, ``discount``, ``clock`` (times of day), seen at least
        once up to ``as_of``.
    value
        The ibis expression over one row of `Facts`.
    """

    name: str
    group: str
    window_days: int | None
    unit: str
    meaning: dict[str, str]
    absent: str
    low: float | None
    high: float | None
    needs: tuple[str, ...]
    value: Callable[[Facts], Value] = field(repr=False, compare=False)


def share(part: Value, whole: Value) -> Value:
    """``part / whole``, null when ``whole`` is 0."""
    return part / whole.nullif(0)


def days_since(what: str, column: str, *, en: str, zh: str, absent: str, needs: tuple[str, ...]) -> Feature:
    """The age of the last ``what`` in days; ``column`` of the facts holds it."""
    meaning = {"en": f"days since the last {en}", "zh": f"距上次{zh}的天数"}
    return Feature(
        f"days_since_last_{what}", "recency", None, "days", meaning, absent, 0.0, None, needs, lambda t: t[column]
    )


def trend(measure: str, window: int, *, en: str, zh: str, needs: tuple[str, ...]) -> Feature:
    """The window's part of itself and the window before: 0.5 is steady, 1 all new, 0 all gone."""
    meaning = {
        "en": f"share of the {en} of the last {2 * window} days that fell in the last {window}",
        "zh": f"近{window}天{zh}占近{2 * window}天的比例",
    }
    return Feature(
        name=f"{measure}_trend_{window}d",
        group="trend",
        window_days=2 * window,
        unit="share",
        meaning=meaning,
        absent=f"none in the last {2 * window} days",
        low=0.0,
        high=1.0,
        needs=needs,
        value=lambda t: share(t[f"{measure}_{window}d"], t[f"{measure}_{2 * window}d"]),
    )


def _scaled(facts: Facts, column: str, scale: int) -> Value:
    return facts[column] / scale if scale > 1 else facts[column]


def windowed(
    measure: str,
    windows: Sequence[int | None],
    *,
    group: str,
    unit: str,
    en: str,
    zh: str,
    needs: tuple[str, ...],
    absent: str,
    scale: int = 1,
) -> tuple[Feature, ...]:
    """One feature per window (None: the whole life) that reads the sum ``<measure>_<window>d`` of the facts."""
    made = []
    for window in windows:
        suffix = "life" if window is None else f"{window}d"
        made.append(
            Feature(
                name=f"{measure}_{suffix}",
                group=group,
                window_days=window,
                unit=unit,
                meaning={
                    "en": f"{en} so far" if window is None else f"{en} in the last {window} days",
                    "zh": f"累计{zh}" if window is None else f"近{window}天{zh}",
                },
                absent=absent,
                low=0.0,
                high=None if window is None or not measure.endswith("_days") else float(window),
                needs=needs,
                value=partial(_scaled, column=f"{measure}_{suffix}", scale=scale),
            )
        )
    return tuple(made)
