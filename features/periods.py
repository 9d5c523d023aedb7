"""The only place where timestamps are compared.

All instants are UTC, aware, in microseconds. With ``as_of`` the inclusive end of knowledge:

* features see ``(as_of - window, as_of]``: an event at exactly ``as_of`` is known, one at ``as_of - window`` is not;
* labels see ``(as_of, as_of + horizon]``: an event at exactly ``as_of`` is never a label.

Worked example, carried through: ``as_of = 2011-09-10 00:00:00``, window 7 days, horizon 90 days.
The window is ``(2011-09-03 00:00:00, 2011-09-10 00:00:00]``, the label ``(2011-09-10 00:00:00, 2011-12-09 00:00:00]``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config
from configs.errors import ConfigError

__all__ = [
    "DAY",
    "after",
    "as_utc",
    "days_between",
    "days_of",
    "grid",
    "in_horizon",
    "in_window",
    "is_known",
    "microseconds",
    "midnight",
    "now",
    "upto",
]

DAY = timedelta(days=1)


def now(config: Config) -> datetime:
    """The present, or the instant at which ``USEROPS_NOW`` holds the clock."""
    return config.now or datetime.now(UTC)


def as_utc(value: datetime | str) -> datetime:
    """An aware UTC instant; a naive one, or a bare date, is read as UTC.

    Examples
    --------
    >>> as_utc("2011-09-10").isoformat()
    '2011-09-10T00:00:00+00:00'
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ConfigError("not an instant", got=value, expected="2011-09-10 or 2011-09-10T08:00:00Z") from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def midnight(instant: datetime) -> datetime:
    """The last midnight at or before ``instant``."""
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def grid(last: datetime, every_days: float, count: int) -> list[datetime]:
    """``count`` instants, ``every_days`` apart, oldest first, ending at ``last``.

    Examples
    --------
    >>> [at.day for at in grid(as_utc("2011-09-10"), 3, 3)]
    [4, 7, 10]
    """
    return [last - timedelta(days=every_days * k) for k in reversed(range(count))]


def is_known(ends: pd.DatetimeIndex, known_until: datetime) -> NDArray[np.bool_]:
    """Whether label windows that end at ``ends`` are over, and so known, at ``known_until``."""
    return np.asarray(ends <= pd.Timestamp(known_until))


def microseconds(later: ir.TimestampValue, earlier: ir.TimestampValue) -> ir.IntegerValue:
    """``later - earlier`` in whole microseconds: the same integer on every engine."""
    return later.delta(earlier, unit="microsecond")


def upto(table: ir.Table, as_of: datetime | ir.TimestampValue, column: str = "event_at") -> ir.Table:
    """The rows known at ``as_of``: ``column <= as_of``."""
    return table.filter(table[column] <= _instant(as_of))


def in_window(at: ir.TimestampValue, as_of: datetime | ir.TimestampValue, days: float) -> ir.BooleanValue:
    """Whether ``at`` lies in ``(as_of - days, as_of]``."""
    end = _instant(as_of)
    return (at <= end) & (at > end - ibis.interval(seconds=round(days * 86400)))


def in_horizon(at: ir.TimestampValue, as_of: datetime | ir.TimestampValue, days: float) -> ir.BooleanValue:
    """Whether ``at`` lies in ``(as_of, as_of + days]``."""
    start = _instant(as_of)
    return (at > start) & (at <= start + ibis.interval(seconds=round(days * 86400)))


def _instant(value: datetime | ir.TimestampValue) -> ir.TimestampValue:
    if isinstance(value, datetime):
        return ibis.literal(as_utc(value), type="timestamp('UTC', 6)")
    return value


def after(start: ir.TimestampValue, at: ir.TimestampValue) -> ir.BooleanValue:
    """Whether ``at`` lies strictly after ``start``: the open end of every label window."""
    return start < at


def days_between(later: ir.TimestampValue, earlier: ir.TimestampValue) -> ir.FloatingValue:
    """``later - earlier`` in days of 86,400 s, from whole microseconds."""
    return microseconds(later, earlier).cast("float64") / 86_400_000_000.0


def days_of(instants: pd.DatetimeIndex) -> NDArray[np.float64]:
    """Days since 1970-01-01 00:00 UTC, float64[n].

    Examples
    --------
    >>> days_of(pd.DatetimeIndex(["1970-01-02 12:00"], tz="UTC")).tolist()
    [1.5]
    """
    return np.asarray((instants - pd.Timestamp("1970-01-01", tz="UTC")) / DAY, dtype=np.float64)
