"""Sums over the tiles at each (user, as_of): the raw material of every feature.

The columns, all integers, money and pieces in the units of `features.tiles`:

* ``<measure>_<w>d`` and ``<measure>_life`` for every measure of ``MEASURES`` and window of ``WINDOWS``: the sum over
  ``(as_of - w days, as_of]``. What no feature reads, the engine does not compute.
* ``since_<what>``: days with fractions from an instant to as_of; ``*_age``: whole days, 0 being the last before as_of.
* ``gap_*``: of the days between purchase days; ``affinity_*``: of the decayed interest in categories.
* ``population_*`` and ``has_<part>``: equal for all users of one as_of.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from features.tiles import CHANNELS, DAY_US, Tiles, epoch_us

__all__ = ["HALF_LIFE_DAYS", "INSTANTS", "INTEREST_WINDOW_DAYS", "MEASURES", "PARTS", "WINDOWS", "facts", "interest_at"]

MEASURES = (
    "orders", "purchase_days", "lines", "spend", "pieces", "discount", "returns", "refunds", "visits", "views",
    "searches", "carts", "clicks", "contacts", "active_days", "activities", "morning", "afternoon", "evening",
    "weekend", *CHANNELS, "channelled",
)  # fmt: skip

#: 275, 365 and 455 are the seams of the seasons of last year.
WINDOWS = (7, 14, 30, 60, 90, 180, 275, 365, 455)

#: What a source may lack, and the tile measure that shows that it does not.
PARTS = {
    "purchase": "lines", "visit": "visits", "view": "views", "search": "searches", "cart": "carts",
    "return": "returns", "click": "clicks", "contact": "contacts", "register": "registers",
    "activity": "activities", "amount": "priced", "quantity": "counted", "discount": "discounted",
    "item": "itemised", "category": "categorised", "channel": "channelled", "clock": "clocked",
}  # fmt: skip

#: Ages in days with fractions, and the instants they are counted from.
INSTANTS = {
    "since_first": "first_at", "since_first_purchase": "first_purchase_at", "since_active": "last_active_at",
    "since_purchase": "last_purchase_at", "since_visit": "last_visit_at", "since_view": "last_view_at",
    "since_cart": "last_cart_at", "since_return": "last_return_at",
}  # fmt: skip

#: Interest in a category halves in this time ...
HALF_LIFE_DAYS = 30
#: ... and is forgotten after this one (it is below 2 % then).
INTEREST_WINDOW_DAYS = 180
_INTEREST_SCALE = 1 << 20


def facts(tiles: Tiles, snapshots: ir.Table) -> ir.Table:
    """One row per (user_no, as_of) for every user with an event at or before as_of; ``snapshots`` is (as_of, tile)."""
    sums = _sums(_aged(tiles.days, snapshots))
    for part in (_gaps(tiles, snapshots), _items(tiles, snapshots), _affinity(tiles, snapshots)):
        sums = sums.left_join(part, ["user_no", "tile"]).drop("user_no_right", "tile_right")
    counts = ("items_365d", "items_life", "categories_90d", "categories_bought_365d")
    sums = sums.mutate(**{name: sums[name].fill_null(0) for name in counts})
    every = sums.inner_join(_population(tiles, snapshots), "tile").inner_join(snapshots, "tile")
    now = epoch_us(every.as_of)
    return every.mutate(**{name: (now - every[column]) / DAY_US for name, column in INSTANTS.items()})


def _aged(table: ir.Table, snapshots: ir.Table) -> ir.Table:
    """Each tile row once per snapshot that knows it, ``age`` 0 being the last day before as_of."""
    crossed = table.rename(at_tile="tile").cross_join(snapshots.select("tile"))
    return crossed.filter(crossed.at_tile <= crossed.tile).mutate(age=crossed.tile - crossed.at_tile)


def _sums(days: ir.Table) -> ir.Table:
    sums = {f"{m}_{w}d": days[m].sum(where=days.age < w).fill_null(0) for m in MEASURES for w in WINDOWS}
    return days.group_by("user_no", "tile").aggregate(
        first_active_age=days.age.max(where=days.active_days > 0),
        last_active_age=days.age.min(where=days.active_days > 0),
        first_purchase_age=days.age.max(where=days.lines > 0),
        **{c: days[c].min() if c.startswith("first") else days[c].max() for c in INSTANTS.values()},
        **{f"{m}_life": days[m].sum() for m in MEASURES},
        **sums,
    )


def _gaps(tiles: Tiles, snapshots: ir.Table) -> ir.Table:
    days = _aged(tiles.purchases, snapshots)
    return days.group_by("user_no", "tile").aggregate(
        gap_count=days.gap.count(),
        gap_sum=days.gap.sum(),
        gap_square_sum=(days.gap * days.gap).sum(),
        gap_median=days.gap.median(),
        gap_last=days.gap.argmax(days.at_tile),
        last_day_spend=days.spend.argmax(days.at_tile),
    )


def _items(tiles: Tiles, snapshots: ir.Table) -> ir.Table:
    days = _aged(tiles.items, snapshots)
    items = days.group_by("user_no", "tile", "item_id").aggregate(age=days.age.min(), times=days.count())
    return items.group_by("user_no", "tile").aggregate(
        items_365d=(items.age < 365).sum(), items_life=items.count(), item_days_life=items.times.sum()
    )


def interest_at(categories: ir.Table) -> ir.IntegerValue:
    """The decayed interest of aged category tiles in whole 2^-20 of a view: exact, whatever the order of the sum."""
    decay = (ibis.literal(2.0) ** (-categories.age / HALF_LIFE_DAYS) * _INTEREST_SCALE).round().cast("int64")
    return (categories.interest * decay).sum(where=categories.age < INTEREST_WINDOW_DAYS)


def _affinity(tiles: Tiles, snapshots: ir.Table) -> ir.Table:
    days = _aged(tiles.categories, snapshots)
    days = days.filter(days.age < 365)
    each = days.group_by("user_no", "tile", "category_id").aggregate(
        interest=interest_at(days).fill_null(0),
        recent=(days.age < 90).any(),
        bought=(days.lines > 0).any(),
    )
    ranked = each.mutate(
        place=ibis.row_number().over(group_by=[each.user_no, each.tile], order_by=each.interest.desc()),
        # x ln x in whole 10^-3, so that this sum too is one of integers
        surprise=ibis.ifelse(each.interest > 0, (each.interest * each.interest.ln() * 1000).round(), 0).cast("int64"),
    )
    return ranked.group_by("user_no", "tile").aggregate(
        categories_90d=ranked.recent.sum(),
        categories_bought_365d=ranked.bought.sum(),
        affinity_sum=ranked.interest.sum(),
        affinity_top=ranked.interest.max(where=ranked.place == 0),
        affinity_second=ranked.interest.max(where=ranked.place == 1),
        affinity_surprise=ranked.surprise.sum(),
    )


def _population(tiles: Tiles, snapshots: ir.Table) -> ir.Table:
    """What the whole shop shows at each as_of, and which parts the source has had up to then."""
    days = _aged(tiles.days, snapshots)
    shop = days.group_by("tile").aggregate(
        history_days=days.age.max() + 1,
        population_orders_season=days.orders.sum(where=(days.age >= 275) & (days.age < 365)),
        population_orders_before=days.orders.sum(where=(days.age >= 365) & (days.age < 455)),
        **{f"has_{part}": days[measure].max() > 0 for part, measure in PARTS.items()},
    )
    bought = _aged(tiles.purchases, snapshots)
    buyers = bought.group_by("tile").aggregate(
        population_buyers_30d=bought.user_no.nunique(where=bought.age < 30),
        population_buyers_90d=bought.user_no.nunique(where=bought.age < 90),
        population_buyers_life=bought.user_no.nunique(),
    )
    return shop.left_join(buyers, "tile").drop("tile_right")
