"""Which judged origins a search of parameters has seen already: there, a version looks better than it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from features.periods import as_utc

__all__ = ["note_of", "seen", "touched_until", "untouched_count"]


def touched_until(meta: Mapping[str, Any]) -> datetime | None:
    """Until when labels chose the parameters of a version, by its ``model.json``; None where nothing was searched."""
    told = (meta.get("training", {}).get("search") or {}).get("touched_until")
    return None if told is None else as_utc(told)


def seen(meta: Mapping[str, Any], origins: Sequence[datetime]) -> list[datetime]:
    """Those of ``origins`` whose labels the search may have known: they lie before `touched_until`.

    Examples
    --------
    >>> days = [as_utc("2026-03-02"), as_utc("2026-03-16"), as_utc("2026-03-30")]
    >>> told = {"training": {"search": {"touched_until": "2026-03-16T00:00:00+00:00"}}}
    >>> [f"{at:%m-%d}" for at in seen(told, days)], seen({}, days)
    (['03-02'], [])
    """
    until = touched_until(meta)
    return [] if until is None else [origin for origin in origins if origin < until]


def untouched_count(meta: Mapping[str, Any], most: int, past: Callable[[int], Sequence[datetime]]) -> int:
    """How many origins, ``most`` at most, can be judged of which the search has seen none; ``past(n)`` are the last n.

    0 where it has seen even the last one.

    Examples
    --------
    >>> days = [as_utc("2026-03-02"), as_utc("2026-03-16"), as_utc("2026-03-30")]
    >>> told = {"training": {"search": {"touched_until": "2026-03-16T00:00:00+00:00"}}}
    >>> untouched_count(told, 3, lambda n: days[-n:]), untouched_count({}, 3, lambda n: days[-n:])
    (2, 3)
    """
    if touched_until(meta) is None:
        return most
    return next((count for count in range(most, 0, -1) if not seen(meta, past(count))), 0)


def note_of(meta: Mapping[str, Any], origins: Sequence[datetime]) -> dict[str, str] | None:
    """A warning in ``en`` and ``zh`` when the search has seen some of ``origins``; else None."""
    old, until = seen(meta, origins), touched_until(meta)
    if not old or until is None:
        return None
    days = [f"{origin:%Y-%m-%d}" for origin in old]
    return {
        "en": f"The search of its parameters used labels until {until:%Y-%m-%d}, so it has seen {', '.join(days)}: "
        "what is measured there is too good.",
        "zh": f"其参数搜索用到了截至 {until:%Y-%m-%d} 的标签，已见过 {'、'.join(days)}：在这些时点上的指标偏乐观。",
    }
