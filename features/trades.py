"""The tiles of what was bought and returned, and each user's rhythm of buying."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

__all__ = ["FIRSTS", "rhythm", "trade_tiles", "whole_numbers"]

#: What a tile counts at the first line of an order, and at a user's first line of an item.
FIRSTS = ("orders", "new_items")


def whole_numbers(tiles: ir.Table) -> ir.Table:
    """The measures as float64; instants stay integers."""
    keys = ("user_id", "tile")
    return tiles.mutate(
        **{c: tiles[c].cast("float64") for c in tiles.columns if c not in keys and not c.endswith("_at")}
    )


def trade_tiles(lines: ir.Table) -> ir.Table:
    """One row per (user, tile) with a purchase or return: lines, orders, money, pieces, what was new to the user."""
    traded = lines.filter(lines.kind.isin(("purchase", "return")))
    kind, at, amount = traded.kind, traded["at"], traded.amount
    bought, returned = kind == "purchase", kind == "return"
    trades = traded.group_by("user_id", "tile").aggregate(
        first_purchase_at=at.min(where=bought),
        last_purchase_at=at.max(where=bought),
        last_return_at=at.max(where=returned),
        lines=traded.count(where=bought),
        returns=traded.count(where=returned),
        spend=amount.sum(where=bought).fill_null(0),
        refunds=amount.sum(where=returned).fill_null(0),
        pieces=traded.pieces.sum(where=bought).fill_null(0),
        discount=traded.discount.sum(where=traded.discount > 0).fill_null(0),
        priced=amount.count(where=bought),
        counted=traded.pieces.count(where=bought),
        discounted=traded.discount.count(),
        itemised=traded.item_id.count(where=bought),
    )
    trades = trades.left_join(_firsts(lines), ["user_id", "tile"]).drop("user_id_right", "tile_right")
    trades = trades.mutate(**{name: trades[name].fill_null(0) for name in FIRSTS}, purchase_days=trades.lines > 0)
    return whole_numbers(trades)


def _firsts(lines: ir.Table) -> ir.Table:
    """Per (user, tile): the orders, and the items new to the user, whose first line lies there.

    An order is a distinct order_id, or a distinct instant where that is null.
    """
    bought = lines.filter(lines.kind == "purchase")
    moment = ibis.ifelse(bought.order_id.isnull(), bought["at"], ibis.null("int64"))
    keys = {"orders": bought.order_id, "new_items": bought.item_id}
    parts = []
    for name, key in keys.items():
        known = bought if name == "orders" else bought.filter(key.notnull())
        first = known.group_by("user_id", key=key, moment=moment if name == "orders" else ibis.null("int64"))
        tiles = first.aggregate(tile=known.tile.min())
        parts.append(tiles.select("user_id", "tile", **{n: ibis.literal(int(n == name)) for n in FIRSTS}))
    union = ibis.union(*parts)
    return union.group_by("user_id", "tile").aggregate(**{name: union[name].sum() for name in FIRSTS})


def rhythm(trades: ir.Table) -> ir.Table:
    """One row per purchase day: the days between purchase days as known from its end until the next."""
    bought = trades.filter(trades.lines > 0).select("user_no", "tile", "spend")
    own = ibis.window(group_by="user_no", order_by="tile")
    bought = bought.mutate(
        last_gap=(bought.tile - bought.tile.lag().over(own)).cast("int64"), until=bought.tile.lead().over(own)
    )
    upto_here = ibis.window(group_by="user_no", order_by="tile", preceding=(None, 0))
    gap = bought.last_gap
    return bought.mutate(
        gaps=gap.count().over(upto_here),
        gap_sum=gap.sum().over(upto_here),
        gap_square_sum=(gap * gap).sum().over(upto_here),
        gap_median=gap.median().over(upto_here),
    )
