"""How wide and how fixed a user's taste is: items, categories, and the decayed interest in them."""

from __future__ import annotations

from features.behaviour.feature import NATS, Feature, share, windowed

__all__ = ["FEATURES"]

_ITEMS = ("purchase", "item")
_CATEGORIES = ("category",)
_NO_ITEMS = "the source has no purchases with an item up to as_of"
_NO_INTEREST = "no interest in any category in the last 180 days"

FEATURES: tuple[Feature, ...] = (
    *windowed(
        "new_items", (365,), group="taste", unit="count", en="items bought for the first time",
        zh="首次购买的商品数", needs=_ITEMS, absent=_NO_ITEMS,
    ),
    Feature(
        "items_life", "taste", None, "count",
        {"en": "distinct items bought so far", "zh": "累计购买过的商品数"},
        _NO_ITEMS, 0.0, None, _ITEMS,
        lambda t: t.new_items_life,
    ),
    Feature(
        "item_repeat_share", "taste", None, "share",
        {"en": "share of bought lines whose item the user had bought before", "zh": "复购商品占购买行的比例"},
        "the user never bought an item", 0.0, 1.0, _ITEMS,
        lambda t: 1 - share(t.new_items_life, t.itemised_life),
    ),
    Feature(
        "categories_90d", "taste", 90, "count",
        {"en": "categories of interest in the last 90 days", "zh": "近90天感兴趣的品类数"},
        "the source has no categories up to as_of", 0.0, None, _CATEGORIES,
        lambda t: t.categories_90d.fill_null(0),
    ),
    Feature(
        "affinity_top_share", "taste", 180, "share",
        {"en": "share of the favourite category in recent interest", "zh": "近期最感兴趣品类的占比"},
        _NO_INTEREST, 0.0, 1.0, _CATEGORIES,
        lambda t: share(t.affinity_top, t.affinity_sum),
    ),
    Feature(
        "affinity_second_share", "taste", 180, "share",
        {"en": "share of the second category in recent interest", "zh": "近期第二感兴趣品类的占比"},
        _NO_INTEREST, 0.0, 0.5, _CATEGORIES,
        lambda t: share(t.affinity_second.fill_null(0), t.affinity_sum),
    ),
    Feature(
        "affinity_entropy", "taste", 180, "nats",
        {"en": "how evenly recent interest is spread over categories", "zh": "近期兴趣的品类分散程度"},
        _NO_INTEREST, 0.0, None, _CATEGORIES,
        lambda t: t.affinity_surprise / NATS,
    ),
)  # fmt: skip
