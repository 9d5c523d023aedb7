"""Since when a user is with us, where in the year we stand, and what this season did last year."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from features.behaviour.feature import Feature, share

__all__ = ["FEATURES", "calendar_of"]

_BUYS = ("purchase",)


def calendar_of(as_of: datetime) -> dict[str, float]:
    """Where ``as_of`` stands in the year (UTC); days with fractions.

    Examples
    --------
    >>> from features.periods import as_utc
    >>> calendar_of(as_utc("2011-09-10"))["days_to_month_end"]
    21.0
    """
    year = datetime(as_of.year, 1, 1, tzinfo=as_of.tzinfo)
    month = as_of.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    next_month = (month + timedelta(days=32)).replace(day=1)
    angle = (as_of - year) / timedelta(days=365.2425) * 2 * math.pi
    return {
        "year_sin": math.sin(angle),
        "year_cos": math.cos(angle),
        "days_to_month_end": (next_month - as_of) / timedelta(days=1),
        "weekday": float(as_of.weekday()),
    }


FEATURES: tuple[Feature, ...] = (
    Feature(
        "tenure_days", "tenure", None, "days",
        {"en": "days since the first event", "zh": "首次出现至今的天数"},
        "never null", 0.0, None, (),
        lambda t: t.since_first,
    ),
    Feature(
        "days_since_first_purchase", "tenure", None, "days",
        {"en": "days since the first purchase", "zh": "首次购买至今的天数"},
        "the user never bought", 0.0, None, _BUYS,
        lambda t: t.since_first_purchase,
    ),
    Feature(
        "days_to_first_purchase", "tenure", None, "days",
        {"en": "days from the first event to the first purchase", "zh": "首次出现到首购的天数"},
        "the user never bought", 0.0, None, _BUYS,
        lambda t: t.since_first - t.since_first_purchase,
    ),
    Feature(
        "year_sin", "calendar", None, "index",
        {"en": "season of the year (sine)", "zh": "一年中的季节（正弦）"},
        "never null", -1.0, 1.0, (),
        lambda t: t.year_sin,
    ),
    Feature(
        "year_cos", "calendar", None, "index",
        {"en": "season of the year (cosine)", "zh": "一年中的季节（余弦）"},
        "never null", -1.0, 1.0, (),
        lambda t: t.year_cos,
    ),
    Feature(
        "days_to_month_end", "calendar", None, "days",
        {"en": "days until the month ends", "zh": "距月底天数"},
        "never null", 0.0, 31.0, (),
        lambda t: t.days_to_month_end,
    ),
    Feature(
        "orders_same_season_last_year", "season", None, "count",
        {"en": "orders a year ago in the 90 days that lie ahead", "zh": "去年同期（未来90天）的订单数"},
        "events began less than 365 days before as_of", 0.0, None, _BUYS,
        lambda t: (t.history_days >= 365).ifelse(t.orders_365d - t.orders_275d, None),
    ),
    Feature(
        "season_index", "season", None, "index",
        {"en": "orders of the whole shop a year ago: the 90 days ahead ÷ the 90 days before",
         "zh": "去年全店同期订单数÷其前90天订单数"},
        "events began less than 455 days before as_of, or no orders then", 0.0, None, _BUYS,
        lambda t: (t.history_days >= 455).ifelse(share(t.shop_orders_season, t.shop_orders_before), None),
    ),
    Feature(
        "buyers_share_30d", "season", 30, "share",
        {"en": "share of all customers who bought in the last 30 days", "zh": "近30天有购买的客户占比"},
        "nobody bought up to as_of", 0.0, 1.0, _BUYS,
        lambda t: share(t.shop_buyers_30d, t.shop_buyers_life),
    ),
    Feature(
        "buyers_share_90d", "season", 90, "share",
        {"en": "share of all customers who bought in the last 90 days", "zh": "近90天有购买的客户占比"},
        "nobody bought up to as_of", 0.0, 1.0, _BUYS,
        lambda t: share(t.shop_buyers_90d, t.shop_buyers_life),
    ),
)  # fmt: skip
