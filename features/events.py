"""The event tuple: what happened, to whom, when, and when we learned of it.

=============  ==========================  ==========================================================================
column         type                        meaning
=============  ==========================  ==========================================================================
event_id       string                      hash of the mapped line and its number among equal lines; the same line
                                           read twice has the same id
user_id        string                      the one resolved key of a person (OneID)
event_type     string                      one of ``KINDS``
event_at       timestamp('UTC', 6)         when it happened
ingested_at    timestamp('UTC', 6)         when we learned of it; never before ``event_at``
channel        string, null when unknown   where: app, web, store, wecom, ...
category_id    string, null when unknown
item_id        string, null when unknown
store_id       string, null when unknown
order_id       string, null when unknown   lines with the same order_id are one purchase
quantity       float64, null when unknown  pieces, >= 0
amount         float64, null when unknown  money of the line in the shop's currency, >= 0 (a return has the amount
                                           given back)
props          string, null when none      a JSON object; ``discount`` (money off the line) is read by the features
=============  ==========================  ==========================================================================
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir
from ibis.backends.duckdb import Backend

from configs import Config
from configs.errors import EventsError
from features.ledger import Ledger

__all__ = ["COLUMNS", "ENTITIES", "KINDS", "content_hash", "read_entities", "read_events", "span"]

COLUMNS: dict[str, str] = {
    "event_id": "string",
    "user_id": "string",
    "event_type": "string",
    "event_at": "timestamp('UTC', 6)",
    "ingested_at": "timestamp('UTC', 6)",
    "channel": "string",
    "category_id": "string",
    "item_id": "string",
    "store_id": "string",
    "order_id": "string",
    "quantity": "float64",
    "amount": "float64",
    "props": "string",
}

KINDS: tuple[str, ...] = (
    "register",  # the person became known to us
    "visit",  # opened the app or entered the store
    "view",  # looked at an item
    "search",
    "cart",  # put an item into the basket
    "purchase",  # bought and paid a line
    "return",  # gave a line back, or cancelled it
    "coupon",  # received or redeemed a coupon
    "impression",  # was shown an offer of ours
    "click",  # reacted to an offer of ours
    "contact",  # wrote to customer service
    "survey",
)

# Optional tables of attributes, and the key of each: ``store_items`` says what a store carries, with its ``stock``.
ENTITIES: dict[str, tuple[str, ...]] = {
    "users": ("user_id",),
    "items": ("item_id",),
    "stores": ("store_id",),
    "store_items": ("store_id", "item_id"),
}


def read_events(
    connection: Backend, config: Config, first: datetime | None = None, last: datetime | None = None
) -> ir.Table:
    """All committed events, lazily, with exactly ``COLUMNS``; nothing of an unfinished ingest.

    With ``first`` or ``last`` only files of their dates (UTC) and those between are read.
    """
    span_of = ("" if first is None else f"{first:%Y-%m-%d}", "9999-99-99" if last is None else f"{last:%Y-%m-%d}")
    files = Ledger(config).event_files(*span_of)
    if not files:
        raise _nothing(config)
    for stored in files:
        size = stored.path.stat().st_size if stored.path.exists() else None
        if size != stored.bytes:
            raise EventsError(
                f"{stored.path} is damaged", got=size, expected=f"{stored.bytes} bytes", run="userops ingest --replace"
            )
    table = connection.read_parquet([str(stored.path) for stored in files], hive_partitioning=False)
    return table.cast(ibis.schema(COLUMNS)).select(*COLUMNS)


def span(config: Config) -> tuple[datetime, datetime]:
    """``event_at`` of the first and of the last event."""
    batches = [batch for batch in Ledger(config).batches() if batch.accepted]
    if not batches:
        raise _nothing(config)
    first = min(batch.first_event_us or 0 for batch in batches)
    last = max(batch.last_event_us or 0 for batch in batches)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + timedelta(microseconds=first), epoch + timedelta(microseconds=last)


def content_hash(config: Config) -> str:
    """Digest of the set of events: the same events give the same digest, in whatever batches they came.

    ``ingested_at`` is left out, so that two homes that read the same files agree.
    """
    batches = Ledger(config).batches()
    content = 0
    for batch in batches:
        content ^= int(batch.content, 16)
    events = sum(batch.accepted for batch in batches)
    return "sha256:" + hashlib.sha256(f"{events} {content:032x}".encode()).hexdigest()


def read_entities(connection: Backend, config: Config, name: str) -> ir.Table | None:
    """The attributes of one of `ENTITIES`, one row per key; None when no source gave any."""
    if name not in ENTITIES:
        raise EventsError("no such entity table", got=name, expected=sorted(ENTITIES))
    path = config.home / "events" / "entities" / f"{name}.parquet"
    return connection.read_parquet(str(path)) if path.exists() else None


def _nothing(config: Config) -> EventsError:
    return EventsError(f"{config.home} holds no events", run="userops ingest SOURCE --data PATH")
