"""How recently, how often, for how much and in what rhythm a user buys."""

from __future__ import annotations

from features.behaviour.feature import Facts, Feature, Value, days_since, share, trend, windowed

__all__ = ["FEATURES"]

_BUYS = ("purchase",)
_NO_SALES = "the source has no purchases up to as_of"
_NEVER = "the user never bought"
_PRICED = ("purchase", "amount")
_NO_MONEY = "the source has no purchases with an amount up to as_of"


def _usual_gap(t: Facts) -> Value:
    return t.gap_sum / t.gaps.nullif(0)


FEATURES: tuple[Feature, ...] = (
    days_since("purchase", "since_purchase", en="purchase", zh="购买", absent=_NEVER, needs=_BUYS),
    *windowed(
        "orders",
        (7, 14, 30, 60, 90, 180, 365, None),
        group="frequency",
        unit="count",
        en="orders",
        zh="订单数",
        needs=_BUYS,
        absent=_NO_SALES,
    ),
    *windowed(
        "purchase_days",
        (90, 365, None),
        group="frequency",
        unit="days",
        en="days with a purchase",
        zh="有购买的天数",
        needs=_BUYS,
        absent=_NO_SALES,
    ),
    *windowed(
        "spend",
        (7, 30, 90, 180, 365, None),
        group="monetary",
        unit="currency",
        en="spend",
        zh="消费金额",
        needs=_PRICED,
        absent=_NO_MONEY,
        scale=10_000,
    ),
    Feature(
        "purchase_gap_mean_days",
        "rhythm",
        None,
        "days",
        {"en": "mean days between purchase days", "zh": "平均购买间隔天数"},
        "fewer than 2 purchase days",
        1.0,
        None,
        _BUYS,
        _usual_gap,
    ),
    Feature(
        "purchase_gap_median_days",
        "rhythm",
        None,
        "days",
        {"en": "median days between purchase days", "zh": "购买间隔天数中位数"},
        "fewer than 2 purchase days",
        1.0,
        None,
        _BUYS,
        lambda t: t.gap_median,
    ),
    Feature(
        "purchase_gap_sd_days",
        "rhythm",
        None,
        "days",
        {"en": "standard deviation of the days between purchase days", "zh": "购买间隔天数标准差"},
        "fewer than 3 purchase days",
        0.0,
        None,
        _BUYS,
        lambda t: ((t.gaps * t.gap_square_sum - t.gap_sum * t.gap_sum) / (t.gaps * (t.gaps - 1)).nullif(0)).sqrt(),
    ),
    Feature(
        "purchase_gap_last_days",
        "rhythm",
        None,
        "days",
        {"en": "days between the last two purchase days", "zh": "最近两次购买间隔天数"},
        "fewer than 2 purchase days",
        1.0,
        None,
        _BUYS,
        lambda t: t.last_gap,
    ),
    Feature(
        "purchase_gap_ratio",
        "rhythm",
        None,
        "ratio",
        {"en": "days since the last purchase ÷ the user's usual gap", "zh": "距上次购买天数÷本人平均购买间隔"},
        "fewer than 2 purchase days",
        0.0,
        None,
        _BUYS,
        lambda t: t.since_purchase / _usual_gap(t),
    ),
    Feature(
        "orders_per_day",
        "rhythm",
        None,
        "rate",
        {"en": "orders per day as a customer, drawn towards one a month", "zh": "日均订单数（平滑）"},
        _NO_SALES,
        0.0,
        None,
        _BUYS,
        lambda t: (t.orders_life + 1) / (t.since_first + 30),
    ),
    Feature(
        "recency_of_tenure",
        "rhythm",
        None,
        "share",
        {"en": "days since the last purchase ÷ days since the first event", "zh": "距上次购买天数占入会时长的比例"},
        "the user never bought, or all began at as_of",
        0.0,
        1.0,
        _BUYS,
        lambda t: share(t.since_purchase, t.since_first),
    ),
    trend("orders", 90, en="orders", zh="订单", needs=_BUYS),
    trend("spend", 90, en="spend", zh="消费", needs=_PRICED),
)
