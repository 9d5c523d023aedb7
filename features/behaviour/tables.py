"""The tables beside the user vector: one row per (user, category) and one per item, at each snapshot.

The interest model stands on them. Like the user vector they come from daily tiles and see only ``(.., as_of]``.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from features.behaviour.facts import aged, interest_at
from features.behaviour.feature import MONEY, PIECES
from features.tiles import DAY_US, INTEREST

__all__ = ["category_tiles", "item_tiles", "items", "user_categories"]

_CATEGORY_DAYS = 365  # pairs without any event for longer, and never bought, are left out
_SCALE = float(1 << 20)


def category_tiles(lines: ir.Table) -> ir.Table:
    """One row per (user, category, tile) from events in tiles: interest, events, bought lines, spend, last instants."""
    shown = lines.filter(lines.category_id.notnull() & lines.kind.isin(tuple(INTEREST)))
    bought, at = shown.kind == "purchase", shown["at"]
    return shown.group_by("user_id", "category_id", "tile").aggregate(
        interest=shown.kind.cases(*INTEREST.items(), else_=0).sum(),
        events=shown.count(),
        lines=shown.count(where=bought),
        spend=shown.amount.sum(where=bought).fill_null(0.0),
        last_at=at.max(),
        last_purchase_at=at.max(where=bought),
    )


def user_categories(tiles: ir.Table, snapshots: ir.Table) -> ir.Table:
    """What each user did in each category, as known at each snapshot.

    Returns
    -------
    ir.Table
        user_id, category_id, as_of; ``interest``: views, halved every 30 days, forgotten after 180; ``interest_share``
        of the user's whole (null when that is 0); ``events_30d``, ``events_90d``; ``lines_90d``, ``lines_365d``,
        ``lines_life`` bought; ``spend_365d``, ``spend_life``; ``purchase_days_life``; ``days_since_last_event``;
        ``days_since_last_purchase`` (null: never bought there); ``purchase_gap_mean_days`` and ``purchase_gap_ratio``,
        the days since the last purchase ÷ that mean (null: fewer than 2 purchase days there).
    """
    days = aged(tiles, snapshots)
    buying = days.lines > 0
    rows = days.group_by("user_id", "category_id", "tile").aggregate(
        interest=interest_at(days) / _SCALE,
        **{f"events_{w}d": ibis.ifelse(days.age < w, days.events, 0).sum() for w in (30, 90)},
        **{f"lines_{w}d": ibis.ifelse(days.age < w, days.lines, 0).sum() for w in (90, 365)},
        lines_life=days.lines.sum(),
        spend_365d=ibis.ifelse(days.age < 365, days.spend, 0.0).sum() / MONEY,
        spend_life=days.spend.sum() / MONEY,
        purchase_days_life=days.count(where=buying),
        first_day=days.age.max(where=buying),
        last_day=days.age.min(where=buying),
        last_at=days.last_at.max(),
        last_purchase_at=days.last_purchase_at.max(),
        age=days.age.min(),
    )
    rows = rows.filter((rows.age < _CATEGORY_DAYS) | (rows.lines_life > 0)).inner_join(
        snapshots.select("tile", "as_of", "now_at"), "tile"
    )
    gap = (rows.first_day - rows.last_day) / (rows.purchase_days_life - 1).nullif(0)
    since = (rows.now_at - rows.last_purchase_at) / DAY_US
    whole = rows.interest.sum().over(group_by=[rows.user_id, rows.tile])
    rows = rows.select(
        "user_id",
        "category_id",
        "as_of",
        "interest",
        interest_share=rows.interest / whole.nullif(0),
        **{c: rows[c] for c in ("events_30d", "events_90d", "lines_90d", "lines_365d", "lines_life")},
        **{c: rows[c] for c in ("spend_365d", "spend_life", "purchase_days_life")},
        days_since_last_event=(rows.now_at - rows.last_at) / DAY_US,
        days_since_last_purchase=since,
        purchase_gap_mean_days=gap,
        purchase_gap_ratio=since / gap,
    )
    return _doubles(rows)


def item_tiles(lines: ir.Table) -> ir.Table:
    """One row per (item, tile) from events in tiles; ``new_buyers`` counts users at their first line of the item."""
    known = lines.filter(lines.item_id.notnull())
    kind = known.kind
    bought = kind == "purchase"
    days = known.group_by("item_id", "tile").aggregate(
        category_id=known.category_id.argmax(known["at"]),
        views=known.count(where=kind == "view"),
        carts=known.count(where=kind == "cart"),
        lines=known.count(where=bought),
        returns=known.count(where=kind == "return"),
        pieces=known.pieces.sum(where=bought).fill_null(0.0),
        spend=known.amount.sum(where=bought).fill_null(0.0),
        last_purchase_at=known["at"].max(where=bought),
    )
    sales = known.filter(bought)
    buyers = sales.group_by("item_id", "user_id").aggregate(tile=sales.tile.min())
    buyers = buyers.group_by("item_id", "tile").aggregate(new_buyers=buyers.count())
    days = days.left_join(buyers, ["item_id", "tile"]).drop("item_id_right", "tile_right")
    return days.mutate(new_buyers=days.new_buyers.fill_null(0))


def items(tiles: ir.Table, snapshots: ir.Table) -> ir.Table:
    """How each item sells, as known at each snapshot.

    Returns
    -------
    ir.Table
        item_id, as_of, ``category_id`` (the last one seen); ``views_30d``, ``carts_30d``; bought lines ``lines_7d``,
        ``lines_30d``, ``lines_90d``, ``lines_365d``, ``lines_life``; ``spend_30d``, ``spend_365d``; ``buyers_life``:
        distinct buyers; ``repeat_share``: lines that were not their buyer's first (null: never sold);
        ``return_share``: returned ÷ bought lines (null: never sold); ``price``: mean price of a piece in the last 90
        days, ``price_life`` of all (null: none sold then); ``days_since_first_seen``; ``days_since_last_purchase``.
    """
    days = aged(tiles, snapshots)

    def within(measure: str, window: int) -> ir.NumericValue:
        return ibis.ifelse(days.age < window, days[measure], 0).sum()

    rows = days.group_by("item_id", "tile").aggregate(
        category_id=days.category_id.argmax(days.at_tile),
        views_30d=within("views", 30),
        carts_30d=within("carts", 30),
        **{f"lines_{w}d": within("lines", w) for w in (7, 30, 90, 365)},
        lines_life=days.lines.sum(),
        spend_30d=within("spend", 30) / MONEY,
        spend_365d=within("spend", 365) / MONEY,
        buyers_life=days.new_buyers.sum(),
        returns=days.returns.sum(),
        price=within("spend", 90) / within("pieces", 90).nullif(0) * PIECES / MONEY,
        price_life=days.spend.sum() / days.pieces.sum().nullif(0) * PIECES / MONEY,
        first_age=days.age.max(),
        last_purchase_at=days.last_purchase_at.max(),
    )
    rows = rows.inner_join(snapshots.select("tile", "as_of", "now_at"), "tile")
    sold = rows.lines_life.nullif(0)
    rows = rows.select(
        "item_id",
        "as_of",
        "category_id",
        **{c: rows[c] for c in ("views_30d", "carts_30d", "lines_7d", "lines_30d", "lines_90d", "lines_365d")},
        **{c: rows[c] for c in ("lines_life", "spend_30d", "spend_365d", "buyers_life")},
        repeat_share=1 - rows.buyers_life / sold,
        return_share=rows.returns / sold,
        price=rows.price,
        price_life=rows.price_life,
        days_since_first_seen=rows.first_age,
        days_since_last_purchase=(rows.now_at - rows.last_purchase_at) / DAY_US,
    )
    return _doubles(rows)


def _doubles(rows: ir.Table) -> ir.Table:
    return rows.mutate(**{c: rows[c].cast("float64") for c, kind in rows.schema().items() if kind.is_numeric()})
