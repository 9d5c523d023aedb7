"""Daily tiles: the events, counted once per user and day, from which any number of snapshots is made.

A tile is the day that *ends* at the snapshots' time of day: tile ``k`` holds the events of
``(epoch + (k - 1) days + clock, epoch + k days + clock]``. So a snapshot at ``as_of`` stands at the end of a tile, and
``(as_of - w days, as_of]`` is exactly the ``w`` tiles of age 0 to ``w - 1``; no event is split, none counted twice.

e.g. clock 08:00, as_of 2011-09-10 08:00 (tile 15227): an event at 2011-09-10 08:00:00 has age 0, one at 08:00:00.000001
lies in the future, one at 2011-09-03 08:00:00 has age 7 and is outside the last 7 days.

Counts, money in ten-thousandths and pieces in thousandths are whole numbers held as float64: their sums are exact below
2^53, so they do not depend on the order in which threads meet the rows, and run faster than sums of 64-bit integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import ibis
import ibis.expr.types as ir

from features.behaviour.feature import CHANNELS, MONEY, PIECES
from features.events import KINDS
from features.periods import as_utc
from features.trades import FIRSTS, rhythm, trade_tiles, whole_numbers

__all__ = [
    "ACTIVITY_KINDS",
    "COUNTED",
    "DAY_US",
    "EPOCH",
    "FIRSTS",
    "INTEREST",
    "PARTS",
    "PASSIVE_KINDS",
    "Clock",
    "Keep",
    "Number",
    "Tiles",
    "clock_of",
    "cut",
    "epoch_us",
    "in_order",
    "in_tiles",
    "shop_days",
    "tile_of",
]

DAY_US = 86_400_000_000
_HOUR_US = DAY_US // 24

#: What happens to a user rather than through them: neither activity nor absence of it.
PASSIVE_KINDS = ("register", "coupon", "impression")
#: What a user does of their own accord.
ACTIVITY_KINDS = tuple(kind for kind in KINDS if kind not in PASSIVE_KINDS)

#: Interest in a category halves in this time ...
HALF_LIFE_DAYS = 30
#: ... and is forgotten after this one (1.6 % of it is left then).
INTEREST_WINDOW_DAYS = 180
#: How much one event tells about the interest in its category.
INTEREST = {"view": 1, "search": 1, "click": 2, "cart": 3, "purchase": 5}

#: The kinds that a tile counts, and the column of each.
COUNTED = {
    "visit": "visits", "view": "views", "search": "searches", "cart": "carts", "click": "clicks", "contact": "contacts",
}  # fmt: skip

#: What a source may lack, and the column of a tile that is above 0 where it does not.
PARTS = COUNTED | {
    "activity": "activities", "category": "categorised", "channel": "channelled", "clock": "clocked",
    "purchase": "lines", "return": "returns", "amount": "priced", "quantity": "counted", "discount": "discounted",
    "item": "itemised",
}  # fmt: skip

EPOCH = as_utc("1970-01-01")


@ibis.udf.scalar.builtin(name="epoch_us", signature=(("timestamp('UTC', 6)",), "int64"))  # type: ignore[untyped-decorator]
def epoch_us(at: datetime) -> int:  # type: ignore[empty-body]
    """Whole microseconds since 1970, read from the stored integer.

    `periods.microseconds` gives the same number, but DuckDB takes a calendar difference for it at 1 microsecond of
    work per row: 20 seconds of 20 million events. Spark's own name for this function is ``unix_micros``.
    """


Keep = Callable[[str, ir.Table], ir.Table]
#: Gives every user_id a user_no of its own.
Number = Callable[[ir.Table], ir.Table]
#: A time of day, or the expression of one in microseconds: then one compiled query serves every snapshot.
Clock: TypeAlias = timedelta | ir.IntegerValue


@dataclass(frozen=True)
class Tiles:
    """The tile tables of one set of events, cut at one time of day.

    ``users``: user_id and user_no, a number of his own.
    ``days``: one row per (user_no, tile) with any event; columns of `_days`.
    ``trades``: one row per (user_no, tile) with a purchase or return; columns of `features.trades.trade_tiles`.
    ``rhythm``: one row per purchase day, in force ``until`` the user's next one; columns of `features.trades.rhythm`.
    ``categories``: one row per (user_no, category_id, tile) with interest.
    ``shop``: one row per tile: all orders, and what shows the parts of the event tuple.
    """

    users: ir.Table
    days: ir.Table
    trades: ir.Table
    rhythm: ir.Table
    categories: ir.Table
    shop: ir.Table


def clock_of(as_of: datetime) -> timedelta:
    """The time of day at which the tiles of this snapshot end.

    Examples
    --------
    >>> clock_of(as_utc("2011-09-10T08:00:00"))
    datetime.timedelta(seconds=28800)
    """
    return (as_of - EPOCH) % timedelta(days=1)


def tile_of(as_of: datetime) -> int:
    """The number of the tile that ends at ``as_of``.

    Examples
    --------
    >>> tile_of(as_utc("2011-09-10T08:00:00"))
    15227
    """
    return (as_of - EPOCH) // timedelta(days=1)


def in_order(users: ir.Table) -> ir.Table:
    """The users with ``user_no``, 0, 1, ... in the order of user_id."""
    return users.mutate(user_no=ibis.row_number().over(order_by=users.user_id).cast("int32"))


def cut(
    events: ir.Table,
    clock: Clock,
    keep: Keep = lambda name, table: table,
    first: int | None = None,
    number: Number = in_order,
) -> Tiles:
    """Cut events into the tiles that end at ``clock`` after midnight UTC.

    Parameters
    ----------
    clock
        A time of day, or an expression of its microseconds; ``first`` needs a time of day.
    keep
        ``keep(name, table)`` may store a table and give back the stored one; the next tables are made from it.
    first
        The tile of the earliest snapshot that will be taken, when known: older interest is not cut.
    number
        Numbers the users; its table is the first that ``keep`` stores.
    """
    lines = in_tiles(events, clock)
    users = keep("users", number(events.select("user_id").distinct()))

    def numbered(table: ir.Table) -> ir.Table:
        return table.inner_join(users, "user_id").drop("user_id")

    days = keep("days", numbered(_days(lines)))
    # The range holds "register" too, but the engine can test it before it reads the other columns.
    trades = keep(
        "trades", numbered(trade_tiles(in_tiles(events.filter(events.event_type.between("purchase", "return")), clock)))
    )
    shown = events.filter(events.category_id.notnull() & events.event_type.isin(tuple(INTEREST)))
    if first is not None and isinstance(clock, timedelta):
        oldest = EPOCH + timedelta(days=first - INTEREST_WINDOW_DAYS) + clock
        shown = shown.filter(shown.event_at > ibis.literal(oldest, type="timestamp('UTC', 6)"))
    return Tiles(
        users=users,
        days=days,
        trades=trades,
        rhythm=keep("rhythm", rhythm(trades)),
        categories=keep("categories", numbered(_categories(in_tiles(shown, clock)))),
        shop=keep("shop", shop_days(days, trades)),
    )


def in_tiles(events: ir.Table, clock: Clock) -> ir.Table:
    """The events with the tile of each, and whole numbers for instants, money and pieces."""
    at, kind = epoch_us(events.event_at), events.event_type
    discount = events.props.cast("json")["discount"].float  # null when it is not a number
    lines = events.select(
        "user_id",
        "channel",
        "category_id",
        "item_id",
        "order_id",
        kind=kind,
        activity=kind.notin(PASSIVE_KINDS),
        at=at,
        day=(at // DAY_US).cast("int32"),
        amount=(events.amount * MONEY).round().cast("float64"),
        pieces=(events.quantity * PIECES).round().cast("float64"),
        discount=ibis.ifelse(kind == "purchase", (discount * MONEY).round().cast("float64"), ibis.null("float64")),
    )
    lines = lines.mutate(time_of_day=lines["at"] - lines.day.cast("int64") * DAY_US)
    # The end of a tile belongs to it: an event at the clock itself is of the tile that ends then.
    late = lines.time_of_day > (clock // timedelta(microseconds=1) if isinstance(clock, timedelta) else clock)
    return lines.mutate(tile=(lines.day + late.cast("int32")).cast("int32"))


def _days(lines: ir.Table) -> ir.Table:
    """One row per (user, tile): how often each kind happened, the last instants, habits, channels."""
    kind, at, active = lines.kind, lines["at"], lines.activity
    time_of_day = lines.time_of_day
    weekday = (lines.day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    # Two marks in one aggregate: whether a category was of interest, whether an active event had a time of day.
    interesting = lines.category_id.notnull() & kind.isin(tuple(INTEREST))
    marks = interesting.cast("int8") + (active & (time_of_day != 0)).cast("int8") * 2
    days = lines.group_by("user_id", "tile").aggregate(
        first_at=at.min(),
        last_active_at=at.max(where=active),
        **{name: lines.count(where=kind == k) for k, name in COUNTED.items()},
        activities=lines.count(where=active),
        marks=marks.bit_or(),
        morning=lines.count(where=active & (time_of_day >= 6 * _HOUR_US) & (time_of_day < 12 * _HOUR_US)),
        evening=lines.count(where=active & (time_of_day >= 18 * _HOUR_US)),
        weekend=lines.count(where=active & (weekday >= 5)),
        **{channel: lines.count(where=active & (lines.channel == channel)) for channel in CHANNELS},
        channelled=lines.channel.count(where=active),
    )
    days = days.mutate(active_days=days.activities > 0, categorised=days.marks % 2 > 0, clocked=days.marks > 1)
    return whole_numbers(days.drop("marks"))


def shop_days(days: ir.Table, trades: ir.Table) -> ir.Table:
    """One row per tile: orders of all users, and what shows the parts of the event tuple."""
    every = days.group_by("tile").aggregate(**{part: days[c].max() for part, c in PARTS.items() if c in days.columns})
    trade = trades.group_by("tile").aggregate(
        orders=trades.orders.sum(), **{part: trades[c].max() for part, c in PARTS.items() if c in trades.columns}
    )
    shop = every.left_join(trade, "tile").drop("tile_right")
    return shop.mutate(**{name: shop[name].fill_null(0) for name in trade.columns if name != "tile"})


def _categories(shown: ir.Table) -> ir.Table:
    """One row per (user, category, tile): how much interest was shown."""
    weight = shown.kind.cases(*INTEREST.items(), else_=0)
    return shown.group_by("user_id", "category_id", "tile").aggregate(interest=weight.sum())
