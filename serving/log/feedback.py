"""Taking feedback: what makes sense is written in one transaction and acts on the very next decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

from configs.errors import IdempotencyConflict
from serving.log.counts import add_offer_counts, add_responded, day_of
from serving.log.database import Database, Transaction, again, marks
from serving.log.judging import RESPONSES, Shown, Taken, digest_of, judge
from serving.log.packed import unpack
from serving.log.people import NOT_INTERESTED, OPTED_OUT, note
from serving.log.rows import ALL_CHANNELS, DAY_US, Feedback, FeedbackAnswer, Rejected, ShownOffer
from serving.log.values import storable

__all__ = ["expire", "take"]

KEYS_US = DAY_US  # how long an Idempotency-Key is remembered
AT_ONCE = 5_000

_EVENT = (
    "INSERT INTO feedback (event_id, digest, decision_id, offer_id, rank, user_id, type, at_us, received_at_us, late, "
    f"value, currency, channel, attributes) VALUES ({marks(range(14))})"
)
_ACTION = "INSERT INTO actions (user_id, at_us, source, event, offer_id, placement) VALUES (?, ?, ?, ?, ?, ?)"
_RESPONDED = "UPDATE decision_offers SET responded_at_us = ? WHERE decision_id = ? AND rank = ?"
_KEY = (
    "INSERT INTO feedback_keys (key, body_digest, answer, received_at_us) VALUES (?, ?, ?, ?) ON CONFLICT (key) "
    "DO UPDATE SET body_digest = excluded.body_digest, answer = excluded.answer, "
    "received_at_us = excluded.received_at_us"
)


def take(
    database: Database,
    events: Sequence[Feedback],
    key: str | None,
    at_us: int,
    body_digest: str | None,
) -> FeedbackAnswer:
    """Judge and write a batch; see `serving.log.DecisionLog.feedback`."""
    if body_digest is None:
        body_digest = hashlib.blake2b("".join(map(digest_of, events)).encode(), digest_size=16).hexdigest()
    digest = body_digest
    return again(lambda: _take(database, events, key, at_us, digest))


def _take(
    database: Database,
    events: Sequence[Feedback],
    key: str | None,
    at_us: int,
    body_digest: str,
) -> FeedbackAnswer:
    with database.write("feedback") as inside:
        before = None if key is None else _answered(inside, key, body_digest, at_us)
        if before is not None:
            return before
        taken, duplicates, rejected = judge(events, _there(inside, events), _decisions(inside, events), at_us)
        _write(inside, taken, at_us)
        late = tuple(one.event.event_id for one in taken if one.late)
        answer = FeedbackAnswer(len(taken), duplicates, tuple(rejected), late)
        if key is not None:
            text = json.dumps([answer.accepted, answer.duplicates, answer.rejected, answer.late])
            inside.send(_KEY, (key, body_digest, text, at_us))
    return answer


def expire(inside: Transaction, at_us: int) -> None:
    """Forget the keys whose time is over."""
    inside.run("DELETE FROM feedback_keys WHERE received_at_us < ?", (at_us - KEYS_US,))


def _answered(inside: Transaction, key: str, body_digest: str, at_us: int) -> FeedbackAnswer | None:
    rows = inside.rows(
        "SELECT body_digest, answer FROM feedback_keys WHERE key = ? AND received_at_us >= ?", (key, at_us - KEYS_US)
    )
    if not rows:
        return None
    if rows[0][0] != body_digest:
        raise IdempotencyConflict("the Idempotency-Key was used for another body", got=key, expected="a new key")
    accepted, duplicates, rejected, late = json.loads(rows[0][1])
    return FeedbackAnswer(accepted, duplicates, tuple(Rejected(*one) for one in rejected), tuple(late), repeated=True)


def _there(inside: Transaction, events: Sequence[Feedback]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in _parts(event.event_id for event in events):
        sql = f"SELECT event_id, digest FROM feedback WHERE event_id IN ({marks(part)})"
        found |= dict(inside.rows(sql, part))
    return found


def _decisions(inside: Transaction, events: Sequence[Feedback]) -> dict[str, Shown]:
    found: dict[str, Shown] = {}
    for part in _parts(event.decision_id for event in events):
        within = f"WHERE decision_id IN ({marks(part)})"
        for decision_id, user_id, at_us in inside.rows(
            f"SELECT decision_id, user_id, decided_at_us FROM decisions {within}", part
        ):
            found[decision_id] = Shown(user_id, at_us)
        for decision_id, *offer in inside.rows(
            "SELECT decision_id, offer_id, rank, p, action_probability, priority, channel, placement "
            f"FROM decision_offers {within} ORDER BY decision_id, rank",
            part,
        ):
            found[decision_id].offers.append(ShownOffer(*offer))
        for decision_id, offer_id, rank, kind in inside.rows(
            f"SELECT decision_id, offer_id, rank, type FROM feedback {within} AND rank > 0", part
        ):
            found[decision_id].said.setdefault(offer_id, set()).add(kind)
            if kind in RESPONSES:
                found[decision_id].responded.add(rank)
    for part in _parts(event.decision_id for event in events if event.type == "not_interested"):
        sql = f"SELECT decision_id, inputs, packed FROM decisions WHERE decision_id IN ({marks(part)})"
        for decision_id, inputs, packed in inside.rows(sql, part):
            found[decision_id].about = _about(inputs if packed is None else unpack(packed)[0])
    return found


def _about(inputs: str | bytes) -> dict[str, str]:
    """What the offers that came with the request are about: no catalogue knows them when they are refused."""
    content = json.loads(inputs) if inputs else None
    found: dict[str, str] = {}
    for one in content.get("candidates") or [] if isinstance(content, dict) else []:
        attributes = one.get("attributes") or {}
        # The item alone where both are named, as the decision has it.
        about = next((attributes[name] for name in ("item_id", "category_id") if attributes.get(name)), None)
        if isinstance(about, str):
            found.setdefault(one["offer_id"], about)
    return found


def _write(inside: Transaction, taken: Sequence[Taken], at_us: int) -> None:
    about = [(one, one.offer) for one in taken if one.offer is not None]
    first = [(one, offer) for one, offer in about if one.first_response]
    inside.many(_EVENT, [_line(one, at_us) for one in taken])
    inside.many(
        _ACTION,
        [
            (
                *(one.shown.user_id, _acts_at(one, at_us), f"e:{one.event.event_id}"),
                *(one.event.type, offer.offer_id, offer.placement),
            )
            for one, offer in about
        ],
    )
    inside.many(_RESPONDED, [(_acts_at(one, at_us), one.event.decision_id, offer.rank) for one, offer in first])
    note(inside, [wish for one in taken for wish in _wishes(one, at_us)], at_us)
    add_offer_counts(
        inside,
        [(offer.offer_id, day_of(_acts_at(one, at_us)), one.event.type, offer.placement) for one, offer in about],
    )
    add_responded(inside, [(day_of(one.shown.decided_at_us), offer.channel) for one, offer in first])


def _line(one: Taken, at_us: int) -> tuple[object, ...]:
    event, offer = one.event, one.offer
    return (
        *(event.event_id, one.digest, event.decision_id),
        *(("", 0) if offer is None else (offer.offer_id, offer.rank)),
        *(one.shown.user_id, event.type, event.at_us, at_us, int(one.late), event.value, event.currency),
        event.channel or (None if offer is None else offer.channel),
        json.dumps(event.attributes, sort_keys=True, default=dict),
    )


def _wishes(one: Taken, at_us: int) -> list[tuple[str, str, str, bool, int]]:
    event, user_id, acts_at = one.event, one.shown.user_id, _acts_at(one, at_us)
    if event.type == "not_interested" and one.offer is not None:
        item = event.attributes.get("item_id")
        told = [item] if isinstance(item, str) and item and storable(item) else []
        asked = one.shown.about.get(one.offer.offer_id)
        names = dict.fromkeys([one.offer.offer_id, *told, *([asked] if asked is not None else [])])
        return [(user_id, NOT_INTERESTED, name, True, acts_at) for name in names]
    if event.type == "unsubscribe":
        everything = event.channel is None or event.attributes.get("scope") == "all"
        return [(user_id, OPTED_OUT, ALL_CHANNELS if everything else str(event.channel), True, acts_at)]
    return []


def _acts_at(one: Taken, at_us: int) -> int:
    # The next decision sees what happened until now: a sender whose clock is ahead must not hide it.
    return min(one.event.at_us, at_us)


def _parts(values: Iterable[str]) -> Iterator[list[str]]:
    asked = [value for value in dict.fromkeys(values) if storable(value)]
    for start in range(0, len(asked), AT_ONCE):
        yield asked[start : start + AT_ONCE]
