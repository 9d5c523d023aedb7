"""What an order of this user looks like: size, price, discount, returns."""

from __future__ import annotations

from features.behaviour.feature import MONEY, PIECES, Feature, share, windowed

__all__ = ["FEATURES"]

_PRICED = ("purchase", "amount")

FEATURES: tuple[Feature, ...] = (
    Feature(
        "basket_amount_mean", "basket", None, "currency",
        {"en": "mean spend per order", "zh": "平均每单金额"},
        "the user never bought", 0.0, None, _PRICED,
        lambda t: share(t.spend_life, t.orders_life) / MONEY,
    ),
    Feature(
        "basket_amount_last", "basket", None, "currency",
        {"en": "spend on the last purchase day", "zh": "最近一次购买日金额"},
        "the user never bought", 0.0, None, _PRICED,
        lambda t: t.last_spend / MONEY,
    ),
    Feature(
        "basket_lines_mean", "basket", None, "count",
        {"en": "mean lines per order", "zh": "平均每单商品行数"},
        "the user never bought", 0.0, None, ("purchase",),
        lambda t: share(t.lines_life, t.orders_life),
    ),
    Feature(
        "piece_price_mean", "basket", None, "currency",
        {"en": "mean price of a piece", "zh": "平均件单价"},
        "no pieces bought", 0.0, None, (*_PRICED, "quantity"),
        lambda t: share(t.spend_life, t.pieces_life) * PIECES / MONEY,
    ),
    Feature(
        "discount_share_365d", "basket", 365, "share",
        {"en": "share of the price taken off by discounts in the last 365 days", "zh": "近365天优惠金额占比"},
        "nothing bought in the last 365 days", 0.0, 1.0, (*_PRICED, "discount"),
        lambda t: share(t.discount_365d, t.discount_365d + t.spend_365d),
    ),
    Feature(
        "return_share_life", "basket", None, "ratio",
        {"en": "money given back ÷ money spent", "zh": "退款金额占消费金额的比例"},
        "nothing spent", 0.0, None, (*_PRICED, "return"),
        lambda t: share(t.refunds_life, t.spend_life),
    ),
    *windowed(
        "returns", (365,), group="basket", unit="count", en="lines returned", zh="退货次数",
        needs=("return",), absent="the source has no return events up to as_of",
    ),
)  # fmt: skip
