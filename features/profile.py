"""What a person sees of a user at a glance: life-cycle state, last events, favourite categories, value."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from features.tiles import PASSIVE_KINDS

__all__ = ["LIFECYCLE_STATES", "lifecycle_state", "profiles"]

#: ``at_risk`` is not a rule: serving sets it on active users from the churn model.
LIFECYCLE_STATES = ("new", "active", "at_risk", "dormant", "churned", "reactivated")

NEW_DAYS = 30  # first seen at most this long ago
ACTIVE_DAYS = 30  # active within this time
CHURNED_DAYS = 90  # silent for longer

_LISTS = ("last_events", "top_categories")
_VALUE = ("orders_life", "spend_30d", "spend_365d", "spend_life", "basket_amount_mean", "purchase_gap_median_days")


def lifecycle_state(user: ir.Table) -> ir.StringValue:
    """The state of each user vector: the first of these rules that holds.

    ``churned`` silent for more than 90 days (or never active and known for longer); ``dormant`` silent for more than
    30; ``new`` first seen in the last 30 days; ``reactivated`` active in the last 30 days, and in the 60 before them
    silent though active before; ``active`` everybody else.
    """
    silent = user.days_since_last_activity.fill_null(user.tenure_days)
    return ibis.cases(
        (silent > CHURNED_DAYS, "churned"),
        (silent > ACTIVE_DAYS, "dormant"),
        (user.tenure_days <= NEW_DAYS, "new"),
        (
            (user.active_days_90d == user.active_days_30d) & (user.active_days_life > user.active_days_90d),
            "reactivated",
        ),
        else_="active",
    )


def last_events(events: ir.Table, snapshots: ir.Table) -> ir.Table:
    """Per (user, as_of) the last three things the user did, newest first; equal instants in the order of event_id."""
    done = events.filter(events.event_type.notin(PASSIVE_KINDS)).select(
        "user_id", "event_id", "event_type", "event_at", "item_id", "category_id"
    )
    known = done.cross_join(snapshots.select("as_of"))
    known = known.filter(known.event_at <= known.as_of)
    newest = ibis.window(group_by=[known.user_id, known.as_of], order_by=[known.event_at.desc(), known.event_id.desc()])
    known = known.mutate(place=ibis.row_number().over(newest))
    known = known.filter(known.place < 3)
    event = ibis.struct(
        {
            "event_type": known.event_type,
            "event_at": known.event_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "item_id": known.item_id,
            "category_id": known.category_id,
        }
    )
    return known.group_by("user_id", "as_of").aggregate(last_events=event.collect(order_by=known.place))


def top_categories(user_categories: ir.Table) -> ir.Table:
    """Per (user, as_of) the three categories of most interest, with their shares."""
    shown = user_categories.filter(user_categories.interest > 0)
    best = ibis.window(group_by=[shown.user_id, shown.as_of], order_by=[shown.interest.desc(), shown.category_id.asc()])
    shown = shown.mutate(place=ibis.row_number().over(best))
    shown = shown.filter(shown.place < 3)
    entry = ibis.struct({"category_id": shown.category_id, "share": shown.interest_share.round(4)})
    return shown.group_by("user_id", "as_of").aggregate(top_categories=entry.collect(order_by=shown.place))


def profiles(user: ir.Table, events: ir.Table, user_categories: ir.Table, snapshots: ir.Table) -> ir.Table:
    """user_id, as_of and ``profile``: JSON text with lifecycle_state, last_events, top_categories and value."""
    own = ["user_id", "as_of"]
    rows = user.left_join(last_events(events, snapshots), own).drop("user_id_right", "as_of_right")
    rows = rows.left_join(top_categories(user_categories), own).drop("user_id_right", "as_of_right")
    profile = ibis.struct(
        {
            "lifecycle_state": lifecycle_state(rows),
            **{name: rows[name].fill_null(ibis.literal([], type=rows[name].type())) for name in _LISTS},
            "value": ibis.struct({name: rows[name] for name in _VALUE}),
        }
    )
    return rows.select(*own, profile=profile.cast("json").cast("string"))
