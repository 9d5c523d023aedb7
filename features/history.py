"""A user's newest views, carts and purchases as one array, in the layout of `configs.history`."""

from __future__ import annotations

from collections.abc import Callable

import ibis
import ibis.expr.types as ir

from configs.history import HISTORY_LINES, KINDS
from features.codes import code_table
from features.tiles import epoch_us

__all__ = ["Coder", "code_table", "histories", "history_lines", "ids_of"]

#: Gives the table ``id, code`` for a table of distinct ids.
Coder = Callable[[ir.Table], ir.Table]

_CODED = {"item": "item_id", "category": "category_id", "order": "order_id"}


def history_lines(events: ir.Table) -> ir.Table:
    """The events that are lines of a history: views, carts and purchases of an item or a category."""
    lines = events.filter(
        events.event_type.isin(tuple(KINDS)) & (events.item_id.notnull() | events.category_id.notnull())
    )
    return lines.select("user_id", "event_id", "event_type", "event_at", "quantity", *_CODED.values())


def ids_of(lines: ir.Table) -> ir.Table:
    """Every id of the lines once, as ``id``."""
    ids = lines.select(id=ibis.array([lines[column] for column in _CODED.values()]).unnest()).distinct()
    return ids.filter(ids.id.notnull())


def histories(lines: ir.Table, codes: ir.Table, snapshots: ir.Table) -> ir.Table:
    """Each user's newest lines as known at each snapshot.

    Parameters
    ----------
    lines
        Of `history_lines`.
    codes
        Of `code_table`, with every id of the lines.
    snapshots
        With the column as_of.

    Returns
    -------
    ir.Table
        user_id, as_of and ``history``: float64[n * WIDTH], 1 <= n <= HISTORY_LINES, oldest first, lines of one instant
        in the order of event_id; no row for who has no line.
    """
    for name, column in _CODED.items():
        own = codes.select(**{f"{name}_key": codes.id, name: codes.code})
        lines = lines.left_join(own, lines[column] == own[f"{name}_key"])
    lines = lines.select(
        "user_id",
        "event_at",
        "event_id",
        numbers=ibis.array(
            [
                lines["item"].fill_null(0.0),
                lines["category"].fill_null(0.0),
                epoch_us(lines.event_at).cast("float64"),
                lines.event_type.cases(*KINDS.items(), else_=None).cast("float64"),
                lines.quantity.fill_null(1.0),
                lines["order"].fill_null(0.0),
            ]
        ),
    )
    known = lines.cross_join(snapshots.select("as_of"))
    known = known.filter(known.event_at <= known.as_of)
    # A list that is sorted takes half the time of an ordered aggregate, and of a ranking before it.
    line = ibis.struct({"event_at": known.event_at, "event_id": known.event_id, "numbers": known.numbers})
    rows = known.group_by("user_id", "as_of").aggregate(lines=line.collect(include_null=True))
    newest = rows["lines"].sort()[-HISTORY_LINES:]
    return rows.select("user_id", "as_of", history=newest.map(lambda line: line["numbers"]).flatten())
