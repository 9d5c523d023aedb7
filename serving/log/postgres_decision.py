"""A decision into PostgreSQL by one statement, which is a transaction by itself: one round, and one wait for the disk.

What `serving.log.decisions` writes for both databases in a dozen statements, each of which has its price in Python, on
the wire and in the server: together three times that of this one.
"""

from __future__ import annotations

from functools import lru_cache
from random import randrange
from typing import TYPE_CHECKING, NamedTuple

from serving.log.database import Row
from serving.log.rows import DecisionRow

if TYPE_CHECKING:
    from serving.log.postgres import PostgresDatabase

__all__ = ["Made", "record"]

PARTS = 16  # of a counter: whoever adds to one keeps it until its commit is on the disk

# Whoever inserts the request first wins; the other one waits for the end of that statement, and writes nothing.
_RECORD = """
WITH claimed AS (
  INSERT INTO requests (request_id, decision_id, body_digest, decided_at_us)
  SELECT ?::text, ?::text, ?::text, ?::bigint WHERE NOT EXISTS (SELECT 1 FROM forgotten WHERE digest = ?)
  ON CONFLICT (request_id) DO UPDATE SET decision_id = excluded.decision_id, body_digest = excluded.body_digest,
    decided_at_us = excluded.decided_at_us WHERE requests.decided_at_us < ?
  RETURNING decision_id, decided_at_us
), decided AS (
  INSERT INTO decisions (decision_id, request_id, user_id, decided_at_us, status, status_reason, body_digest,
    release_id, policy_digest, vector_hash, history_hash, packed, candidates, inputs, response)
  SELECT ?::text, ?::text, ?::text, ?::bigint, ?::text, ?::text, ?::text, ?::text, ?::text, ?::text, ?::text,
    ?::bytea, ''::bytea, '', '' FROM claimed
), kept AS (
  INSERT INTO contents (user_id, hash, content)
  SELECT ?::text, given.hash, given.content
  FROM claimed, (VALUES (?::text, ?::bytea), (?::text, ?::bytea)) AS given (hash, content)
  WHERE given.content IS NOT NULL
  ON CONFLICT (user_id, hash) DO NOTHING
), shown AS (
  SELECT given.* FROM claimed, (VALUES {offers}) AS given (offer_id, rank, p, action_probability, priority, channel,
    placement) WHERE given.rank > 0
), offered AS (
  INSERT INTO decision_offers (offer_id, rank, p, action_probability, priority, channel, placement, decision_id)
  SELECT shown.*, claimed.decision_id FROM shown, claimed
), acted AS (
  INSERT INTO actions (user_id, at_us, source, event, offer_id, placement)
  SELECT ?::text, claimed.decided_at_us, 'd:' || claimed.decision_id || '/' || shown.rank, 'decision', shown.offer_id,
    shown.placement FROM shown, claimed
), offers AS (
  INSERT INTO offer_counts (offer_id, day, event, placement, part, n)
  SELECT offer_id, ?::text, 'decision', coalesce(placement, ''), ?::integer, count(*) FROM shown
  GROUP BY offer_id, coalesce(placement, '') ORDER BY offer_id, coalesce(placement, '')
  ON CONFLICT (offer_id, day, event, placement, part) DO UPDATE SET n = offer_counts.n + excluded.n
), channels AS (
  INSERT INTO channel_counts (day, channel, part, shown, responded)
  SELECT ?::text, channel, ?::integer, count(*), 0 FROM shown WHERE channel IS NOT NULL
  GROUP BY channel ORDER BY channel
  ON CONFLICT (day, channel, part) DO UPDATE SET shown = channel_counts.shown + excluded.shown
)
SELECT 1 FROM claimed
"""
_OFFER = "(?::text, ?::integer, ?::float8, ?::float8, ?::float8, ?::text, ?::text)"
_NO_OFFER = (None, 0, None, None, None, None, None)


@lru_cache(maxsize=64)
def _statement(offers: int) -> bytes:
    """For so many offers (an array would be text, escaped and read again), with numbered places."""
    parts = _RECORD.replace("{offers}", ", ".join([_OFFER] * offers)).split("?")
    return "".join(part if place == 0 else f"${place}{part}" for place, part in enumerate(parts)).encode()


class Made(NamedTuple):
    """What is made of a decision to write it down: the user's digest, the day, and what is packed or hashed."""

    who: str
    day: str
    history_hash: str
    packed: bytes


def record(database: PostgresDatabase, row: DecisionRow, since_us: int, made: Made) -> bool:
    """Whether the decision was written: its request id did not come at or after ``since_us``, nor is ``who`` forgotten.

    Done again after a cut connection it may find what it wrote itself: then it is False, too.
    """
    part = randrange(PARTS)
    offers = row.offers or (_NO_OFFER,)
    values: Row = (
        *(row.request_id, row.decision_id, row.body_digest, row.decided_at_us, made.who, since_us),
        *(row.decision_id, row.request_id, row.user_id, row.decided_at_us, row.status, row.status_reason),
        *(row.body_digest, row.release_id, row.policy_digest, row.vector_hash, made.history_hash),
        *(made.packed, row.user_id, row.vector_hash, row.vector or None, made.history_hash, row.history or None),
        *(value for offer in offers for value in offer),
        *(row.user_id, made.day, part, made.day, part),
    )
    return bool(database.ask(_statement(len(offers)), values, "written"))
