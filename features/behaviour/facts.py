"""Sums over the tiles at each (user, as_of): the raw material of every feature.

The columns, all integers, money and pieces in the units of `features.tiles`:

* ``<measure>_<w>d`` and ``<measure>_life`` for every measure (``DAY_MEASURES``, ``TRADE_MEASURES``) and window of
  ``WINDOWS``: the sum over ``(as_of - w days, as_of]``.
* ``since_<what>``: days with fractions from an instant to as_of; ``*_age``: whole days, 0 being the last before as_of.
* ``gap*``: of the days between purchase days; ``affinity_*``: of the decayed interest in categories.
* ``shop_*``, ``history_days`` and ``has_<part>`` (1, or null where the source lacks it): equal for all users.
"""

from __future__ import annotations

from collections.abc import Collection

import ibis
import ibis.expr.types as ir

from features.behaviour.feature import CHANNELS, NATS
from features.tiles import DAY_US, HALF_LIFE_DAYS, INTEREST_WINDOW_DAYS, PARTS, Tiles

__all__ = ["WINDOWS", "aged", "facts", "interest_at", "shop_facts"]

DAY_MEASURES = (
    "active_days", "activities", "visits", "views", "searches", "carts", "clicks", "contacts",
    "morning", "evening", "weekend", *CHANNELS, "channelled",
)  # fmt: skip
TRADE_MEASURES = (
    "orders", "purchase_days", "lines", "spend", "pieces", "discount", "returns", "refunds",
    "itemised", "new_items",
)  # fmt: skip

#: 275, 365 and 455 are the seams of the seasons of last year.
WINDOWS = (7, 14, 30, 60, 90, 180, 275, 365, 455)

#: Ages in days with fractions, and the instants they are counted from.
INSTANTS = {
    "since_first": "first_at", "since_first_purchase": "first_purchase_at", "since_active": "last_active_at",
    "since_purchase": "last_purchase_at", "since_return": "last_return_at",
}  # fmt: skip

OWN = ["user_no", "tile"]

#: Decayed interest is counted in whole 2^-20 of a view.
_INTEREST_SCALE = 1 << 20


def facts(
    tiles: Tiles, snapshots: ir.Table, wanted: Collection[str] | None = None, shop: ir.Table | None = None
) -> ir.Table:
    """One row per (user_no, as_of) for every user with an event at or before as_of.

    Parameters
    ----------
    snapshots
        as_of, tile, now_at and the columns of the calendar.
    wanted
        The windowed columns to compute; None computes all.
    shop
        What `shop_facts` says of everybody, where ``tiles`` are those of a few users.
    """
    rows = _totals(aged(tiles.days, snapshots), DAY_MEASURES, wanted)
    bought = _totals(aged(tiles.trades, snapshots), TRADE_MEASURES, wanted)
    for part in (bought, _rhythm(tiles, snapshots), _affinity(tiles, snapshots)):
        rows = rows.left_join(part, OWN).drop("user_no_right", "tile_right")
    shop = shop_facts(tiles, snapshots) if shop is None else shop
    rows = rows.inner_join(shop, "tile").inner_join(snapshots, "tile")
    # Who never bought has no row to join: the counts are 0 there.
    counts = [c for c in bought.columns if c not in OWN and not c.endswith("_at")]
    return rows.mutate(
        **{c: rows[c].fill_null(0) for c in counts},
        **{name: (rows.now_at - rows[column]) / DAY_US for name, column in INSTANTS.items()},
    )


def aged(table: ir.Table, snapshots: ir.Table) -> ir.Table:
    """Each tile row once per snapshot that knows it, ``age`` 0 being the last day before as_of."""
    crossed = table.rename(at_tile="tile").cross_join(snapshots.select("tile"))
    return crossed.filter(crossed.at_tile <= crossed.tile).mutate(age=crossed.tile - crossed.at_tile)


def _totals(tiles: ir.Table, measures: tuple[str, ...], wanted: Collection[str] | None) -> ir.Table:
    """Per (user_no, tile): the first and last instants, the ages of the last days, the windowed sums."""

    def age(measure: str) -> ir.IntegerValue:
        return ibis.ifelse(tiles[measure] > 0, tiles.age, None)

    ages = {f"last_{m}_age": age(m).min() for m in ("visits", "views", "carts") if m in measures}
    if "active_days" in measures:
        ages["first_active_age"] = age("active_days").max()
    instants = [c for c in INSTANTS.values() if c in tiles.columns]
    sums: dict[str, ir.Value] = {f"{m}_life": tiles[m].sum() for m in measures}
    # A sum of choices runs twice as fast as a filtered sum.
    sums |= {f"{m}_{w}d": ibis.ifelse(tiles.age < w, tiles[m], 0.0).sum() for m in measures for w in WINDOWS}
    return tiles.group_by(OWN).aggregate(
        **{c: tiles[c].min() if c.startswith("first") else tiles[c].max() for c in instants},
        **ages,
        **{name: value for name, value in sums.items() if wanted is None or name in wanted},
    )


def _rhythm(tiles: Tiles, snapshots: ir.Table) -> ir.Table:
    """The rhythm in force at as_of: that of each user's last purchase day."""
    last = _in_force(tiles.rhythm, snapshots)
    return last.select(
        "user_no", "tile", "last_gap", "gaps", "gap_sum", "gap_square_sum", "gap_median", last_spend="spend"
    )


def _in_force(rhythm: ir.Table, snapshots: ir.Table) -> ir.Table:
    days = aged(rhythm, snapshots)
    return days.filter(days.until.isnull() | (days.until > days.tile))


def interest_at(categories: ir.Table) -> ir.IntegerValue:
    """The decayed interest of aged category tiles in whole 2^-20 of a view: exact, whatever the order of the sum."""
    decay = (ibis.literal(2.0) ** (-categories.age / HALF_LIFE_DAYS) * _INTEREST_SCALE).round().cast("int64")
    return ibis.ifelse(categories.age < INTEREST_WINDOW_DAYS, categories.interest * decay, 0).sum()


def _affinity(tiles: Tiles, snapshots: ir.Table) -> ir.Table:
    days = aged(tiles.categories, snapshots)
    days = days.filter(days.age < INTEREST_WINDOW_DAYS)
    each = days.group_by("user_no", "tile", "category_id").aggregate(interest=interest_at(days), age=days.age.min())
    own = [each.user_no, each.tile]
    part = each.interest / each.interest.sum().over(group_by=own)
    ranked = each.mutate(
        place=ibis.row_number().over(group_by=own, order_by=each.interest.desc()),
        # A category's part of the entropy, never below 0: nothing cancels; whole, so that this sum too is exact.
        surprise=(-part * part.ln() * NATS).round().cast("int64"),
    )
    return ranked.group_by("user_no", "tile").aggregate(
        **{f"categories_{w}d": ibis.ifelse(ranked.age < w, 1, 0).sum() for w in (90,)},
        affinity_sum=ranked.interest.sum(),
        affinity_top=ranked.interest.max(where=ranked.place == 0),
        affinity_second=ranked.interest.max(where=ranked.place == 1),
        affinity_surprise=ranked.surprise.sum(),
    )


def shop_facts(tiles: Tiles, snapshots: ir.Table) -> ir.Table:
    """One row per tile of a snapshot: what the whole shop shows, and which parts of the tuple it has had up to then."""
    days = aged(tiles.shop, snapshots)
    shop = days.group_by("tile").aggregate(
        history_days=days.age.max() + 1,
        shop_orders_season=days.orders.sum(where=(days.age >= 275) & (days.age < 365)).fill_null(0),
        shop_orders_before=days.orders.sum(where=(days.age >= 365) & (days.age < 455)).fill_null(0),
        **{f"has_{part}": ibis.ifelse(days[part].max() > 0, 1.0, None) for part in PARTS},
    )
    last = _in_force(tiles.rhythm.select("tile", "until"), snapshots)
    buyers = last.group_by("tile").aggregate(
        shop_buyers_30d=last.count(where=last.age < 30),
        shop_buyers_90d=last.count(where=last.age < 90),
        shop_buyers_life=last.count(),
    )
    return shop.left_join(buyers, "tile").drop("tile_right")
