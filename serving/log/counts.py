"""Counters over all users, kept up to date by whoever writes: per offer and per channel, by UTC day.

Each is a sum of parts, so that decisions made at once in PostgreSQL need not wait for each other; here all is part 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeVar

from serving.log.database import Database, Transaction, marks
from serving.log.rows import DAY_US, GlobalCount

__all__ = ["add_offer_counts", "add_responded", "add_shown", "channel_counts", "day_of", "offer_counts"]

_K = TypeVar("_K", str, tuple[str, str], tuple[str, str, str, str])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_PARAMETERS = 30_000  # SQLite takes 32,766 in one statement

_OFFER = (
    "INSERT INTO offer_counts (offer_id, day, event, placement, part, n) VALUES (?, ?, ?, ?, 0, ?) "
    "ON CONFLICT (offer_id, day, event, placement, part) DO UPDATE SET n = offer_counts.n + excluded.n"
)
_CHANNEL = (
    "INSERT INTO channel_counts (day, channel, part, shown, responded) VALUES (?, ?, 0, ?, ?) "
    "ON CONFLICT (day, channel, part) DO UPDATE SET shown = channel_counts.shown + excluded.shown, "
    "responded = channel_counts.responded + excluded.responded"
)


def day_of(at_us: int) -> str:
    """The UTC day of an instant.

    Examples
    --------
    >>> day_of(0), day_of(-1), day_of(DAY_US)
    ('1970-01-01', '1969-12-31', '1970-01-02')
    """
    return _day(at_us // DAY_US)


@lru_cache(maxsize=512)
def _day(days: int) -> str:
    return (_EPOCH + timedelta(days=days)).strftime("%Y-%m-%d")


def add_offer_counts(inside: Transaction, actions: Iterable[tuple[str, str, str, str | None]]) -> None:
    """Count ``(offer_id, day, event, placement)`` rows."""
    counted = _counted((offer, day, event, placement or "") for offer, day, event, placement in actions)
    inside.many(_OFFER, [(*key, n) for key, n in counted])


def add_shown(inside: Transaction, day: str, channels: Iterable[str | None]) -> None:
    """Count offers that went to a channel."""
    counted = _counted(channel for channel in channels if channel is not None)
    inside.many(_CHANNEL, [(day, channel, n, 0) for channel, n in counted])


def add_responded(inside: Transaction, rows: Iterable[tuple[str, str | None]]) -> None:
    """Count ``(day, channel)`` of offers that got their first response."""
    counted = _counted((day, channel) for day, channel in rows if channel is not None)
    inside.many(_CHANNEL, [(day, channel, 0, n) for (day, channel), n in counted])


def _counted(keys: Iterable[_K]) -> list[tuple[_K, int]]:
    # Two transactions in PostgreSQL that change the same counters must do so in one order, or wait for each other.
    counted: dict[_K, int] = {}
    for key in keys:
        counted[key] = counted.get(key, 0) + 1
    return sorted(counted.items())


def offer_counts(database: Database, offer_ids: Collection[str], since_us: int) -> list[GlobalCount]:
    """The counters of these offers from the day of ``since_us`` on."""
    asked, counts = list(dict.fromkeys(offer_ids)), list[GlobalCount]()
    for start in range(0, len(asked), MOST_PARAMETERS):
        part = asked[start : start + MOST_PARAMETERS]
        rows = database.read(
            "SELECT offer_id, event, day, placement, CAST(sum(n) AS BIGINT) FROM offer_counts "
            f"WHERE offer_id IN ({marks(part)}) AND day >= ? "
            "GROUP BY offer_id, day, event, placement ORDER BY offer_id, day, event, placement",
            (*part, day_of(since_us)),
        )
        counts += [GlobalCount(offer, event, day, placement or None, n) for offer, event, day, placement, n in rows]
    return counts


def channel_counts(database: Database, since_us: int) -> dict[str, tuple[int, int]]:
    """``channel: (shown, responded)`` of the decisions from the day of ``since_us`` on."""
    rows = database.read(
        "SELECT channel, CAST(sum(shown) AS BIGINT), CAST(sum(responded) AS BIGINT) FROM channel_counts "
        "WHERE day >= ? GROUP BY channel ORDER BY channel",
        (day_of(since_us),),
    )
    return {channel: (shown, responded) for channel, shown, responded in rows}
