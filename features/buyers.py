"""Who bought in a store, from the event store."""

from __future__ import annotations

from datetime import datetime, timedelta

from configs import Config

__all__ = ["buyers_of_store"]


def buyers_of_store(config: Config, store_id: str, as_of: datetime, days: int = 365) -> frozenset[str]:
    """The user_id of everybody with a purchase in the store in (as_of - ``days``, as_of].

    Raises
    ------
    EventsError
        When there is no event store here.
    """
    import ibis

    from features.engine import connect
    from features.events import read_events

    since = as_of - timedelta(days=days)
    connection = connect(config)
    try:
        events = read_events(connection, config)
        bought = events.filter(
            (events.event_type == "purchase")
            & (events.store_id == ibis.literal(store_id))
            & (events.event_at > ibis.literal(since))
            & (events.event_at <= ibis.literal(as_of))
        )
        return frozenset(connection.to_pyarrow(bought.select("user_id").distinct())["user_id"].to_pylist())
    finally:
        connection.disconnect()
