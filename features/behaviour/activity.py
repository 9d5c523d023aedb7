"""What a user does besides buying: comes, looks, searches, fills a basket, asks, reacts."""

from __future__ import annotations

from features.behaviour.feature import Feature, days_since, trend, windowed

__all__ = ["FEATURES"]


def _none(kind: str) -> str:
    return f"the source has no {kind} events up to as_of"


FEATURES: tuple[Feature, ...] = (
    days_since(
        "activity",
        "since_active",
        en="activity",
        zh="活跃",
        absent="the user was never active (only registered or was shown offers)",
        needs=("activity",),
    ),
    # Of these three the tiles know the day, not the instant: whole days, 0 within the last 24 hours.
    days_since("visit", "last_visits_age", en="visit", zh="访问", absent="the user never visited", needs=("visit",)),
    days_since(
        "view", "last_views_age", en="item view", zh="浏览商品", absent="the user never viewed an item", needs=("view",)
    ),
    days_since(
        "cart",
        "last_carts_age",
        en="addition to the basket",
        zh="加购",
        absent="the user never filled a basket",
        needs=("cart",),
    ),
    days_since(
        "return", "since_return", en="return", zh="退货", absent="the user never returned anything", needs=("return",)
    ),
    *windowed(
        "active_days",
        (7, 14, 30, 60, 90, 180, 365, None),
        group="activity",
        unit="days",
        en="active days",
        zh="活跃天数",
        needs=("activity",),
        absent=_none("activity"),
    ),
    *windowed(
        "visits",
        (30, 90),
        group="activity",
        unit="count",
        en="visits",
        zh="访问次数",
        needs=("visit",),
        absent=_none("visit"),
    ),
    *windowed(
        "views",
        (7, 30, 90),
        group="activity",
        unit="count",
        en="item views",
        zh="浏览商品次数",
        needs=("view",),
        absent=_none("view"),
    ),
    *windowed(
        "searches",
        (30,),
        group="activity",
        unit="count",
        en="searches",
        zh="搜索次数",
        needs=("search",),
        absent=_none("search"),
    ),
    *windowed(
        "carts",
        (7, 30, 90),
        group="activity",
        unit="count",
        en="additions to the basket",
        zh="加购次数",
        needs=("cart",),
        absent=_none("cart"),
    ),
    *windowed(
        "clicks",
        (90,),
        group="activity",
        unit="count",
        en="reactions to offers",
        zh="点击活动次数",
        needs=("click",),
        absent=_none("click"),
    ),
    *windowed(
        "contacts",
        (90,),
        group="activity",
        unit="count",
        en="contacts with customer service",
        zh="联系客服次数",
        needs=("contact",),
        absent=_none("contact"),
    ),
    trend("active_days", 30, en="active days", zh="活跃天数", needs=("activity",)),
    trend("views", 30, en="item views", zh="浏览次数", needs=("view",)),
    Feature(
        "activity_gap_ratio",
        "rhythm",
        None,
        "ratio",
        {
            "en": "days since the last activity ÷ the user's mean gap between active days",
            "zh": "距上次活跃天数÷本人平均活跃间隔",
        },
        "fewer than 2 active days",
        0.0,
        None,
        ("activity",),
        lambda t: t.since_active * (t.active_days_life - 1) / (t.first_active_age - t.since_active.floor()).nullif(0),
    ),
)
