"""Writing decisions and reading them back, byte for byte."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from sys import byteorder
from typing import Any, cast

from pydantic_core import to_json

from configs.databases import is_postgres
from configs.errors import Forgotten
from serving.log import postgres_decision
from serving.log.counts import add_offer_counts, add_shown, day_of
from serving.log.database import Database, Row, marks
from serving.log.erasure import digest
from serving.log.packed import pack, unpack
from serving.log.rows import DecisionRow, Logged, ScoredCandidate, ShownOffer

__all__ = ["decision", "decisions", "pack_candidates", "record", "request", "unpack_candidates"]

DECISIONS_AT_ONCE = 200

_REQUEST = (
    "INSERT INTO requests (request_id, decision_id, body_digest, decided_at_us) SELECT ?, ?, ?, ? "
    "WHERE NOT EXISTS (SELECT 1 FROM forgotten WHERE digest = ?) "
    "ON CONFLICT (request_id) DO UPDATE SET decision_id = excluded.decision_id, body_digest = excluded.body_digest, "
    "decided_at_us = excluded.decided_at_us WHERE requests.decided_at_us < ?"
)
_LOGGED = (
    "SELECT r.decision_id, r.body_digest, d.response, d.packed FROM requests r "
    "JOIN decisions d ON d.decision_id = r.decision_id WHERE r.request_id = ? AND r.decided_at_us >= ?"
)
# What lies in ``packed`` is empty in its own columns, which hold it of decisions from before there was that one.
_DECISION = (
    "INSERT INTO decisions (decision_id, request_id, user_id, decided_at_us, status, status_reason, body_digest, "
    "release_id, policy_digest, vector_hash, history_hash, packed, candidates, inputs, response) "
    f"VALUES ({marks(range(12))}, ?, '', '')"
)
_CONTENT = "INSERT INTO contents (user_id, hash, content) VALUES (?, ?, ?) ON CONFLICT (user_id, hash) DO NOTHING"
_OFFER = (
    "INSERT INTO decision_offers (offer_id, rank, p, action_probability, priority, channel, placement, decision_id) "
    f"VALUES ({marks(range(8))})"
)
_ACTION = "INSERT INTO actions (user_id, at_us, source, event, offer_id, placement) VALUES (?, ?, ?, ?, ?, ?)"
_SELECT = (
    "SELECT d.decision_id, d.request_id, d.user_id, d.decided_at_us, d.status, d.status_reason, d.body_digest, "
    "d.release_id, d.policy_digest, d.vector_hash, d.inputs, d.response, d.candidates, d.packed, v.content, h.content "
    "FROM decisions d LEFT JOIN contents v ON v.user_id = d.user_id AND v.hash = d.vector_hash "
    "LEFT JOIN contents h ON h.user_id = d.user_id AND h.hash = d.history_hash "
)


def request(database: Database, request_id: str, since_us: int) -> Logged | None:
    """What was answered to ``request_id`` at or after ``since_us``."""
    return _logged(database.read(_LOGGED, (request_id, since_us)))


def record(database: Database, row: DecisionRow, idempotent_us: int) -> Logged | None:
    """Write one decision with its offers, actions and counts, or give what its request id got before.

    Raises
    ------
    Forgotten
        When nothing may be written of this user.
    """
    at_us, since_us = row.decided_at_us, row.decided_at_us - idempotent_us
    history_hash = hashlib.blake2b(row.history, digest_size=16).hexdigest() if row.history else ""
    packed, day = pack(row.inputs, row.response, pack_candidates(row.candidates)), day_of(at_us)
    who = digest(database, row.user_id)
    if is_postgres(database.uri):
        made = postgres_decision.Made(who, day, history_hash, packed)
        if postgres_decision.record(cast(Any, database), row, since_us, made):
            return None
        before = _before(database.read(_LOGGED, (row.request_id, since_us)))
        return None if before.decision_id == row.decision_id else before
    with database.write() as inside:
        # Whoever inserts the request first wins; the other one waits here for the end of that transaction.
        if not inside.run(_REQUEST, (row.request_id, row.decision_id, row.body_digest, at_us, who, since_us)):
            return _before(inside.rows(_LOGGED, (row.request_id, since_us)))
        inside.run(
            _DECISION,
            (
                *(row.decision_id, row.request_id, row.user_id, at_us, row.status, row.status_reason),
                *(row.body_digest, row.release_id, row.policy_digest, row.vector_hash, history_hash),
                *(packed, b""),
            ),
        )
        if row.vector:
            inside.run(_CONTENT, (row.user_id, row.vector_hash, row.vector))
        if row.history:
            inside.run(_CONTENT, (row.user_id, history_hash, row.history))
        if row.offers:
            inside.many(_OFFER, [(*offer, row.decision_id) for offer in row.offers])
            inside.many(
                _ACTION,
                [
                    (
                        row.user_id,
                        at_us,
                        f"d:{row.decision_id}/{offer.rank}",
                        "decision",
                        offer.offer_id,
                        offer.placement,
                    )
                    for offer in row.offers
                ],
            )
            add_offer_counts(inside, [(offer.offer_id, day, "decision", offer.placement) for offer in row.offers])
            add_shown(inside, day, [offer.channel for offer in row.offers])
    return None


def decision(database: Database, decision_id: str) -> DecisionRow | None:
    """The decision as it was recorded."""
    found = _rows(database, database.read(_SELECT + "WHERE d.decision_id = ?", (decision_id,)))
    return found[0] if found else None


def decisions(database: Database, since_us: int, until_us: int) -> Iterator[DecisionRow]:
    """Every decision in [since_us, until_us), by time and then id."""
    page = (
        _SELECT + "WHERE d.decided_at_us < ? AND (d.decided_at_us, d.decision_id) > (?, ?) "
        f"ORDER BY d.decided_at_us, d.decision_id LIMIT {DECISIONS_AT_ONCE}"
    )
    last = since_us, ""  # no id is empty
    while found := _rows(database, database.read(page, (until_us, *last))):
        yield from found
        last = found[-1].decided_at_us, found[-1].decision_id


def pack_candidates(candidates: Sequence[ScoredCandidate]) -> bytes:
    r"""The ids as a JSON list, a line feed, then p and priority of each as float64 little-endian.

    Examples
    --------
    >>> pack_candidates([ScoredCandidate("o1", 0.5, 2.0)])[:7]
    b'["o1"]\n'
    >>> unpack_candidates(pack_candidates([ScoredCandidate("o1", 0.5, 2.0)]))
    (ScoredCandidate(offer_id='o1', p=0.5, priority=2.0),)
    """
    values = array("d", [value for candidate in candidates for value in (candidate.p, candidate.priority)])
    if byteorder == "big":
        values.byteswap()
    return to_json([candidate.offer_id for candidate in candidates]) + b"\n" + values.tobytes()


def unpack_candidates(packed: bytes) -> tuple[ScoredCandidate, ...]:
    """What `pack_candidates` was given."""
    ids, _, content = packed.partition(b"\n")
    values = array("d", content)
    if byteorder == "big":
        values.byteswap()
    return tuple(map(ScoredCandidate, json.loads(ids), values[::2], values[1::2]))


def _before(rows: list[Row]) -> Logged:
    """What its request id got before; a request that is not there was not let in."""
    before = _logged(rows)
    if before is None:
        raise Forgotten
    return before


def _logged(rows: list[Row]) -> Logged | None:
    if not rows:
        return None
    decision_id, body_digest, response, packed = rows[0]
    return Logged(decision_id, body_digest, response.encode() if packed is None else unpack(packed)[1])


def _rows(database: Database, found: list[Row]) -> list[DecisionRow]:
    ids = [row[0] for row in found]
    offers: dict[str, list[ShownOffer]] = {decision_id: [] for decision_id in ids}
    if ids:
        shown = database.read(
            "SELECT decision_id, offer_id, rank, p, action_probability, priority, channel, placement "
            f"FROM decision_offers WHERE decision_id IN ({marks(ids)}) ORDER BY decision_id, rank",
            ids,
        )
        for decision_id, *offer in shown:
            offers[decision_id].append(ShownOffer(*offer))
    rows = []
    for decision_id, *about, inputs, response, candidates, packed, vector, history in found:
        texts = (inputs.encode(), response.encode(), candidates) if packed is None else unpack(packed)
        content = (vector or b"", history or b"", *texts[:2])
        parts: list[Any] = [decision_id, *about, *content, tuple(offers[decision_id]), unpack_candidates(texts[2])]
        rows.append(DecisionRow(*parts))
    return rows
