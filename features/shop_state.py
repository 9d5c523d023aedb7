"""What a user's vector takes from the whole shop, kept so that a few users' news change it without reading the rest.

`features.behaviour.facts.shop_facts` says it from the tiles of everybody, cut at one time of day. The same numbers
follow, at any instant, from three small tables: the first instant of every order, every buyer's last purchase, and
which parts of the event tuple there were. One test holds the two against each other.

e.g. as_of t: orders of age [275, 365) days are those that began in (t - 365 d, t - 275 d].
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from features.tiles import DAY_US, PARTS, epoch_us

__all__ = ["last_purchases", "order_starts", "parts_seen", "shop_facts_at"]


def order_starts(events: ir.Table) -> ir.Table:
    """user_id and ``at`` (us) of the first line of every order: a distinct order_id, or instant where that is null."""
    bought = events.filter(events.event_type == "purchase")
    bought = bought.select("user_id", "order_id", at=epoch_us(bought.event_at))
    moment = ibis.ifelse(bought.order_id.isnull(), bought["at"], ibis.null("int64"))
    first = bought.group_by("user_id", "order_id", moment=moment).aggregate(at=bought["at"].min())
    return first.select("user_id", "at")


def last_purchases(events: ir.Table) -> ir.Table:
    """user_id and ``at`` (us) of every buyer's last purchase."""
    bought = events.filter(events.event_type == "purchase")
    return bought.group_by("user_id").aggregate(at=epoch_us(bought.event_at).max())


def parts_seen(events: ir.Table, shop_days: ir.Table) -> ir.Table:
    """One row: ``first_at`` and ``newest_at`` (us) of the events, and whether each part of the tuple was there (1, 0).

    ``shop_days`` are of the same events, cut at any time of day.
    """
    spanned = events.aggregate(first_at=epoch_us(events.event_at).min(), newest_at=epoch_us(events.event_at).max())
    seen = shop_days.aggregate(
        **{f"has_{part}": ibis.ifelse(shop_days[part].max() > 0, 1, 0).fill_null(0) for part in PARTS}
    )
    return spanned.cross_join(seen)


def shop_facts_at(starts: ir.Table, lasts: ir.Table, parts: ir.Table, snapshots: ir.Table) -> ir.Table:
    """The row of `features.behaviour.facts.shop_facts` for one snapshot that no event of the three tables lies after.

    ``parts`` may have several rows, of several sets of events.
    """
    now = snapshots.select("tile", "now_at")
    age = (now.now_at - starts["at"]) // DAY_US
    orders = starts.cross_join(now).aggregate(
        shop_orders_season=((age >= 275) & (age < 365)).sum().fill_null(0),
        shop_orders_before=((age >= 365) & (age < 455)).sum().fill_null(0),
    )
    silent = (now.now_at - lasts["at"]) // DAY_US
    buyers = lasts.cross_join(now).aggregate(
        shop_buyers_30d=(silent < 30).sum().fill_null(0),
        shop_buyers_90d=(silent < 90).sum().fill_null(0),
        shop_buyers_life=silent.count(),
    )
    seen = parts.aggregate(
        first_at=parts.first_at.min(),
        **{f"has_{p}": ibis.ifelse(parts[f"has_{p}"].max() > 0, 1.0, None) for p in PARTS},
    )
    rows = now.cross_join(seen).cross_join(orders).cross_join(buyers)
    rows = rows.mutate(history_days=(rows.now_at - rows.first_at) // DAY_US + 1)
    return rows.drop("now_at", "first_at")
