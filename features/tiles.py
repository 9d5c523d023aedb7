"""Daily tiles: the events, counted once per user and day, from which any number of snapshots is made.

A tile is the day that *ends* at the snapshots' time of day: tile ``k`` holds the events of
``(epoch + (k - 1) days + clock, epoch + k days + clock]``. So a snapshot at ``as_of`` stands at the end of a tile, and
``(as_of - w days, as_of]`` is exactly the ``w`` tiles of age 0 to ``w - 1``; no event is split, none counted twice.

e.g. clock 08:00, as_of 2011-09-10 08:00 (tile 15227): an event at 2011-09-10 08:00:00 has age 0, one at 08:00:00.000001
lies in the future, one at 2011-09-03 08:00:00 has age 7 and is outside the last 7 days.

Money is summed in whole ten-thousandths and pieces in thousandths, as integers: the sums do not depend on the order in
which threads meet the rows, so equal events give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from features.periods import as_utc

__all__ = [
    "ACTIVITY_KINDS",
    "CHANNELS",
    "DAY_US",
    "INTEREST",
    "MONEY",
    "PIECES",
    "Tiles",
    "clock_of",
    "cut",
    "epoch_us",
    "tile_of",
]

DAY_US = 86_400_000_000
MONEY = 10_000  # units of account per unit of currency
PIECES = 1_000  # units of account per piece

#: What a user does of their own accord. To be registered, shown an offer or handed a coupon is not activity.
ACTIVITY_KINDS = ("visit", "view", "search", "cart", "purchase", "return", "click", "contact", "survey")

#: The channels that have a share of their own; any other counts as "other".
CHANNELS = ("app", "web", "store", "wecom")

#: How much one event tells about the interest in its category.
INTEREST = {"view": 1, "search": 1, "click": 2, "cart": 3, "purchase": 5}

_EPOCH = as_utc("1970-01-01")


@ibis.udf.scalar.builtin(name="epoch_us", signature=(("timestamp('UTC', 6)",), "int64"))  # type: ignore[untyped-decorator]
def epoch_us(at: datetime) -> int:  # type: ignore[empty-body]
    """Whole microseconds since 1970, read from the stored integer.

    `periods.microseconds` gives the same number, but DuckDB takes a calendar difference for it at 1 microsecond of
    work per row: 20 seconds of 20 million events. Spark's own name for this function is ``unix_micros``.
    """


Keep = Callable[[str, ir.Table], ir.Table]


@dataclass(frozen=True)
class Tiles:
    """The tile tables of one set of events, cut at one time of day.

    ``days``: user_no, tile, one column per measure (see `cut`). ``purchases``: user_no, tile of each purchase day,
    ``gap`` in days to the one before. ``items``: user_no, item_id, tile, for bought items. ``categories``: user_no,
    category_id, tile, interest and purchases. ``users``: user_id, user_no (0, 1, ... in the order of user_id).
    """

    users: ir.Table
    days: ir.Table
    purchases: ir.Table
    items: ir.Table
    categories: ir.Table


def clock_of(as_of: datetime) -> timedelta:
    """The time of day at which the tiles of this snapshot end.

    Examples
    --------
    >>> clock_of(as_utc("2011-09-10T08:00:00"))
    datetime.timedelta(seconds=28800)
    """
    return (as_of - _EPOCH) % timedelta(days=1)


def tile_of(as_of: datetime) -> int:
    """The number of the tile that ends at ``as_of``.

    Examples
    --------
    >>> tile_of(as_utc("2011-09-10T08:00:00"))
    15227
    """
    return (as_of - _EPOCH) // timedelta(days=1)


def cut(events: ir.Table, clock: timedelta, keep: Keep = lambda name, table: table) -> Tiles:
    """Cut events into the tiles that end at ``clock`` after midnight UTC.

    ``keep(name, table)`` may store a table and give back the stored one; the next tables are made from it.
    """
    lines = _lines(events, round(clock.total_seconds() * 1_000_000))
    days = keep("user_days", _days(lines))
    users = days.select("user_id").distinct()
    users = keep("users", users.mutate(user_no=ibis.row_number().over(order_by=users.user_id)))

    def numbered(table: ir.Table) -> ir.Table:
        return table.inner_join(users, "user_id").drop("user_id")

    days = keep("days", numbered(days))
    bought = days.filter(days.lines > 0)
    by_user = ibis.window(group_by=bought.user_no, order_by=bought.tile)
    purchases = bought.select(
        "user_no", "tile", "spend", "lines", gap=(bought.tile - bought.tile.lag().over(by_user)).cast("int64")
    )
    return Tiles(
        users=users,
        days=days,
        purchases=keep("purchases", purchases),
        items=keep("items", numbered(_items(lines))),
        categories=keep("categories", numbered(_categories(lines))),
    )


def _lines(events: ir.Table, clock_us: int) -> ir.Table:
    """The events with integers for instants and money."""
    at = epoch_us(events.event_at)
    discount = events.props.cast("json")["discount"].float
    lines = events.select(
        "user_id",
        "event_type",
        "channel",
        "category_id",
        "item_id",
        "order_id",
        at=at,
        tile=_day(at, clock_us),
        amount=(events.amount * MONEY).round().cast("int64"),
        pieces=(events.quantity * PIECES).round().cast("int64"),
        discount=ibis.ifelse(events.event_type == "purchase", (discount * MONEY).round().cast("int64"), ibis.null()),
    )
    return lines.mutate(
        activity=lines.event_type.isin(ACTIVITY_KINDS), hour=(lines["at"] // 3_600_000_000) % 24, clock_us=clock_us
    )


def _day(at: ir.IntegerValue, clock_us: int) -> ir.IntegerValue:
    # -1 and +1: the end of a tile belongs to it, its start to the one before.
    return ((at - clock_us - 1) // DAY_US + 1).cast("int32")


def _days(lines: ir.Table) -> ir.Table:
    """One row per (user, tile): how often each kind happened, sums of money, the last instants, habits, channels."""

    def kind(name: str) -> ir.BooleanValue:
        return lines.event_type == name

    bought, returned, active = kind("purchase"), kind("return"), lines.activity
    weekday = (lines["at"] // DAY_US + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    days = lines.group_by("user_id", "tile").aggregate(
        first_at=lines["at"].min(),
        first_purchase_at=lines["at"].min(where=bought),
        last_active_at=lines["at"].max(where=active),
        last_purchase_at=lines["at"].max(where=bought),
        last_visit_at=lines["at"].max(where=kind("visit")),
        last_view_at=lines["at"].max(where=kind("view")),
        last_cart_at=lines["at"].max(where=kind("cart")),
        last_return_at=lines["at"].max(where=returned),
        registers=kind("register").sum(),
        visits=kind("visit").sum(),
        views=kind("view").sum(),
        searches=kind("search").sum(),
        carts=kind("cart").sum(),
        lines=bought.sum(),
        returns=returned.sum(),
        clicks=kind("click").sum(),
        contacts=kind("contact").sum(),
        activities=active.sum(),
        spend=lines.amount.sum(where=bought).fill_null(0),
        pieces=lines.pieces.sum(where=bought).fill_null(0),
        discount=lines.discount.sum().fill_null(0),
        refunds=lines.amount.sum(where=returned).fill_null(0),
        priced=lines.amount.count(where=bought),
        counted=lines.pieces.count(where=bought),
        discounted=lines.discount.count(),
        itemised=lines.item_id.count(where=bought),
        categorised=lines.category_id.count(where=lines.event_type.isin(tuple(INTEREST))),
        clocked=(active & (lines["at"] % DAY_US != 0)).sum(),
        morning=(active & lines.hour.between(6, 11)).sum(),
        afternoon=(active & lines.hour.between(12, 17)).sum(),
        evening=(active & (lines.hour >= 18)).sum(),
        weekend=(active & (weekday >= 5)).sum(),
        **{channel: (active & (lines.channel == channel)).sum().fill_null(0) for channel in CHANNELS},
        channelled=lines.channel.count(where=active),
    )
    days = days.mutate(active_days=(days.activities > 0).cast("int8"), purchase_days=(days.lines > 0).cast("int8"))
    orders = _orders(lines)
    return days.left_join(orders, ["user_id", "tile"]).select(days, orders=orders.orders.fill_null(0))


def _orders(lines: ir.Table) -> ir.Table:
    """Orders per (user, tile): each distinct order_id, or instant where it is null, counts at its first line."""
    bought = lines.filter(lines.event_type == "purchase")
    first = bought.group_by(
        "user_id", "order_id", moment=ibis.ifelse(bought.order_id.isnull(), bought["at"], ibis.null("int64"))
    ).aggregate(tile=bought.tile.min())
    return first.group_by("user_id", "tile").aggregate(orders=first.count())


def _items(lines: ir.Table) -> ir.Table:
    """One row per (user, bought item, tile)."""
    bought = lines.filter((lines.event_type == "purchase") & lines.item_id.notnull())
    return bought.select("user_id", "item_id", "tile").distinct()


def _categories(lines: ir.Table) -> ir.Table:
    """One row per (user, category, tile): how much interest was shown, what was bought."""
    shown = lines.filter(lines.category_id.notnull() & lines.event_type.isin(tuple(INTEREST)))
    weight = shown.event_type.cases(*INTEREST.items(), else_=0)
    bought = shown.event_type == "purchase"
    return shown.group_by("user_id", "category_id", "tile").aggregate(
        interest=weight.sum(),
        lines=bought.sum(),
        spend=shown.amount.sum(where=bought).fill_null(0),
        last_at=shown["at"].max(),
    )
