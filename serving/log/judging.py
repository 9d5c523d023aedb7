"""Which feedback makes sense: each event of a batch is judged by itself.

Events are judged in the order in which they happened, whatever their order in the batch:

======================  ================================================================================================
`INVALID_TEXT`          a text holds NUL or half a surrogate pair
`INVALID_NUMBER`        ``value`` is not finite
`CONFLICTING_EVENT`     its id came before with other content (with the same: a duplicate, counted, not rejected)
`UNKNOWN_TYPE`          not one of ``TYPES``
`UNKNOWN_DECISION`      never recorded, or erased
`UNKNOWN_OFFER`         not shown by that decision, or not at that rank; only ``unsubscribe`` may name no offer
`FUTURE_TIMESTAMP`      more than a minute ahead of our clock
`BEFORE_DECISION`       more than a minute before its decision
`CONTRADICTORY`         ``accept`` and ``reject``, or ``like`` and ``not_interested``, of one offer of one decision: the
                        one that was logged first stands; a ``return`` of an offer without an ``order``
======================  ================================================================================================

An event that comes when the window of its type, counted from the decision, has closed is taken and flagged late: a
label that was made before must be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from serving.log.rows import DAY_US, Feedback, Rejected, ShownOffer
from serving.log.values import finite, storable

__all__ = ["RESPONSES", "TYPES", "WINDOWS_US", "Shown", "Taken", "digest_of", "judge"]

# How long after the decision an event of each type still belongs to its label.
WINDOWS_US: Mapping[str, int] = MappingProxyType(
    {
        "impression": DAY_US,
        "click": 7 * DAY_US,
        "accept": 7 * DAY_US,
        "reject": 7 * DAY_US,
        "like": 7 * DAY_US,
        "not_interested": 7 * DAY_US,
        "more_info": 7 * DAY_US,
        "order": 30 * DAY_US,
        "return": 60 * DAY_US,
        "unsubscribe": 30 * DAY_US,
    }
)
TYPES = tuple(WINDOWS_US)
RESPONSES = frozenset({"click", "accept", "like", "more_info", "order"})  # what counts for a channel
CONTRADICTS = {"accept": "reject", "reject": "accept", "like": "not_interested", "not_interested": "like"}
CLOCKS_US = 60_000_000  # how far the clocks of senders may be from ours


@dataclass
class Shown:
    """A decision as feedback sees it; ``said`` and ``responded`` grow while a batch is judged."""

    user_id: str
    decided_at_us: int
    offers: list[ShownOffer] = field(default_factory=list)  # by rank
    said: dict[str, set[str]] = field(default_factory=dict)  # per offer, the types taken
    responded: set[int] = field(default_factory=set)  # the ranks with a response
    about: dict[str, str] = field(default_factory=dict)  # per offer of the request, its item or category


@dataclass(frozen=True)
class Taken:
    """An event that makes sense, and what it is about; ``offer`` is None when it names none."""

    event: Feedback
    digest: str
    shown: Shown
    offer: ShownOffer | None
    late: bool
    first_response: bool


def digest_of(event: Feedback) -> str:
    """Equal for equal content, whatever the order of the attributes."""
    content = (
        *(event.event_id, event.decision_id, event.offer_id, event.type, event.at_us, event.rank),
        *(event.value, event.currency, event.channel, event.attributes),
    )
    text = json.dumps(content, sort_keys=True, default=dict)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def judge(
    events: Sequence[Feedback],
    there: Mapping[str, str],
    decisions: Mapping[str, Shown],
    at_us: int,
) -> tuple[list[Taken], int, list[Rejected]]:
    """What to take, how many are duplicates, and the rest with its errors in the order of the batch.

    ``there`` maps the ids taken before to their digests; of ``decisions``, those that took something change.
    """
    taken, duplicates, rejected = list[Taken](), 0, dict[int, Rejected]()
    known = dict(there)
    for place in sorted(range(len(events)), key=lambda place: events[place].at_us):
        event = events[place]
        digest = digest_of(event)
        if known.get(event.event_id) == digest:
            duplicates += 1
            continue
        shown = decisions.get(event.decision_id)
        error = _unsound(event, known) or _misfit(event, shown, at_us)
        if error is not None or shown is None:
            rejected[place] = Rejected(event.event_id, *(error or ("UNKNOWN_DECISION", "")), place)
            continue
        known[event.event_id] = digest
        offer = _offer(event, shown)
        first = offer is not None and event.type in RESPONSES and offer.rank not in shown.responded
        if offer is not None:
            shown.said.setdefault(offer.offer_id, set()).add(event.type)
            shown.responded |= {offer.rank} if first else set()
        late = at_us > shown.decided_at_us + WINDOWS_US[event.type]
        taken.append(Taken(event, digest, shown, offer, late, first))
    return taken, duplicates, [rejected[place] for place in sorted(rejected)]


def _unsound(event: Feedback, known: Mapping[str, str]) -> tuple[str, str] | None:
    texts = (event.event_id, event.decision_id, event.offer_id, event.currency, event.channel)
    if not storable(*texts):
        return "INVALID_TEXT", "a text holds NUL or half a surrogate pair"
    if event.event_id in known:
        return "CONFLICTING_EVENT", "this id was used for other content"
    if event.type not in WINDOWS_US:
        return "UNKNOWN_TYPE", f"expected one of {', '.join(TYPES)}"
    if not finite(event.value):
        return "INVALID_NUMBER", "value must be finite"
    return None


def _misfit(event: Feedback, shown: Shown | None, at_us: int) -> tuple[str, str] | None:
    if shown is None:
        return "UNKNOWN_DECISION", "never recorded, or erased"
    offer = _offer(event, shown)
    if offer is None and not (event.type == "unsubscribe" and event.offer_id is None):
        there = ", ".join(f"{one.offer_id} at rank {one.rank}" for one in shown.offers) or "no offer"
        return "UNKNOWN_OFFER", f"the decision showed {there}"
    if event.at_us > at_us + CLOCKS_US:
        return "FUTURE_TIMESTAMP", f"{(event.at_us - at_us) / 1e6:.0f} s ahead of this server's clock"
    if event.at_us < shown.decided_at_us - CLOCKS_US:
        return "BEFORE_DECISION", f"{(shown.decided_at_us - event.at_us) / 1e6:.0f} s before its decision"
    said = shown.said.get(offer.offer_id, set()) if offer is not None else set()
    if CONTRADICTS.get(event.type) in said:
        return "CONTRADICTORY", f"{CONTRADICTS[event.type]} of this offer came before"
    if event.type == "return" and "order" not in said:
        return "CONTRADICTORY", "no order of this offer came before"
    return None


def _offer(event: Feedback, shown: Shown) -> ShownOffer | None:
    for offer in shown.offers:
        if offer.offer_id == event.offer_id and event.rank in (None, offer.rank):
            return offer
    return None
