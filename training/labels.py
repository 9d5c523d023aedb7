"""What the models are asked to foresee, as waiting times.

Every key ``(user_id, as_of)`` gets the days until the next purchase and the next activity after ``as_of``. A label with
a horizon is a question about a waiting time, so one pass over the events answers every horizon:

``inactive`` within h
    1 when no activity lies in ``(as_of, as_of + h]``; 0 when at least one does;
    excluded when ``as_of + h`` is later than what is known.
``repurchase`` within h
    1 when at least one purchase lies in ``(as_of, as_of + h]``; 0 when none does;
    excluded when ``as_of + h`` is later than what is known. The cohort has bought before.
``repurchase_next_month``
    1 when at least one purchase lies in ``(first midnight of the next calendar month, first midnight of the month
    after]``; 0 when none does; excluded when that month is not over. The cohort has bought before.
``first_order`` within h
    as ``repurchase``; the cohort is known to us and never bought.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.errors import ConfigError
from features.periods import after, days_between, is_known

__all__ = ["LABELS", "MONTH_HORIZON", "label", "month_after", "waiting", "window"]

LABELS = ("inactive", "repurchase", "repurchase_next_month", "first_order")
# The label window of a calendar month is over after two months at the latest.
MONTH_HORIZON = 62.0

ACTIVITY_WAIT = "activity_wait_days"
PURCHASE_WAIT = "purchase_wait_days"
MONTH_WAIT = "month_purchase_wait_days"
_WAITS = {
    "inactive": ACTIVITY_WAIT,
    "repurchase": PURCHASE_WAIT,
    "repurchase_next_month": MONTH_WAIT,
    "first_order": PURCHASE_WAIT,
}


def waiting(events: ir.Table, keys: ir.Table, activity_kinds: tuple[str, ...]) -> ir.Table:
    """``keys`` with the days to the next activity, the next purchase, and the first purchase of the next month.

    Parameters
    ----------
    events
        The event tuple.
    keys
        ``user_id``, ``as_of`` and ``month_start`` (the first midnight of the calendar month after ``as_of``).
    activity_kinds
        Which kinds of events end a silence.

    Returns
    -------
    ir.Table
        One row per key: three float64 columns in days, > 0, null when nothing has followed.
    """
    purchases = events.filter(events.event_type == "purchase")
    activity = events.filter(events.event_type.isin(activity_kinds))
    result = _first_after(keys, activity, "as_of", ACTIVITY_WAIT)
    result = _first_after(result, purchases, "as_of", PURCHASE_WAIT)
    return _first_after(result, purchases, "month_start", MONTH_WAIT)


def label(definition: Mapping[str, Any], waits: pd.DataFrame, known_until: datetime) -> NDArray[np.float64]:
    """0, 1, or NaN where the row is excluded because its label window is not over at ``known_until``.

    Parameters
    ----------
    definition
        A head of ``configs/models/*.yaml``: ``label`` and, but for a calendar month, ``horizon_days``.
    waits
        ``as_of`` and the columns of `waiting`.
    known_until
        The last instant whose events are all known.

    Examples
    --------
    >>> from features.periods import as_utc
    >>> waits = pd.DataFrame({"as_of": [as_utc("2024-01-01")] * 3, "purchase_wait_days": [3.0, 30.0, np.nan]})
    >>> label({"label": "repurchase", "horizon_days": 14}, waits, as_utc("2024-01-15"))
    array([1., 0., 0.])
    >>> label({"label": "repurchase", "horizon_days": 14}, waits, as_utc("2024-01-14"))
    array([nan, nan, nan])
    """
    name = definition["label"]
    if name not in LABELS:
        raise ConfigError(f"label {name!r} is not defined", got=name, expected=LABELS)
    start, end = window(definition, pd.DatetimeIndex(waits["as_of"]))
    horizon = np.asarray((end - start) / timedelta(days=1), float)
    happened = waits[_WAITS[name]].to_numpy(float) <= horizon  # NaN: nothing has followed, so False
    value = ~happened if name == "inactive" else happened
    return np.where(is_known(end, known_until), value.astype(float), np.nan)


def window(definition: Mapping[str, Any], as_of: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Where the label window ``(start, end]`` of each ``as_of`` begins and ends."""
    if definition["label"] == "repurchase_next_month":
        start = month_after(as_of)
        return start, month_after(start)
    return as_of, as_of + timedelta(days=float(definition["horizon_days"]))


def month_after(instants: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The first midnight of the calendar month that follows each instant.

    Examples
    --------
    >>> month_after(pd.DatetimeIndex(["2024-01-31 12:00", "2024-02-01"], tz="UTC")).strftime("%m-%d").tolist()
    ['02-01', '03-01']
    """
    return instants.normalize() + pd.offsets.MonthBegin(1)


def _first_after(keys: ir.Table, events: ir.Table, start: str, name: str) -> ir.Table:
    """``keys`` with ``name``: days from ``start`` to the first of ``events`` strictly later, null when none is."""
    instants = events.select("user_id", event_at="event_at").distinct()
    joined = keys.asof_join(instants, after(keys[start], instants.event_at), predicates="user_id")
    wait = ibis.ifelse(joined.event_at.isnull(), None, days_between(joined.event_at, joined[start]))
    return joined.mutate(**{name: wait}).select(*keys.columns, name)
