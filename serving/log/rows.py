"""What goes into the decision log and what comes out: plain frozen rows, instants as integer microseconds UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "ALL_CHANNELS",
    "DAY_US",
    "Action",
    "DecisionRow",
    "EventsAnswer",
    "Feedback",
    "FeedbackAnswer",
    "GlobalCount",
    "Health",
    "LiveEvent",
    "Logged",
    "QueueLag",
    "ReceivedEvent",
    "Rejected",
    "ScoredCandidate",
    "ShownOffer",
    "UserState",
]

DAY_US = 86_400_000_000
ALL_CHANNELS = "*"  # in `UserState.opted_out`: of everything


class ShownOffer(NamedTuple):
    """One offer of a decision, a fallback included; ``rank`` counts from 1 and is unique in its decision.

    ``action_probability`` is None where no policy drew the offer (a fallback, a control treatment).
    """

    offer_id: str
    rank: int
    p: float | None = None
    action_probability: float | None = None
    priority: float | None = None
    channel: str | None = None
    placement: str | None = None


class ScoredCandidate(NamedTuple):
    """A candidate that was scored, in the order in which the decision saw it."""

    offer_id: str
    p: float
    priority: float


class Logged(NamedTuple):
    """What the log holds under a request id: the caller answers ``response``, or 409 when ``body_digest`` differs."""

    decision_id: str
    body_digest: str
    response: bytes


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision, with all that replaying and auditing it needs.

    ``vector`` is float64 little-endian in catalogue order and ``vector_hash`` names its content; equal vectors and
    histories of a user are kept once. ``inputs`` and ``response`` are JSON and come back byte for byte.
    """

    decision_id: str
    request_id: str
    user_id: str
    decided_at_us: int
    status: str
    status_reason: str | None
    body_digest: str
    release_id: str
    policy_digest: str
    vector_hash: str
    vector: bytes
    history: bytes
    inputs: bytes
    response: bytes
    offers: tuple[ShownOffer, ...] = ()
    candidates: tuple[ScoredCandidate, ...] = ()


class Action(NamedTuple):
    """Something that happened between an offer and a user: ``decision``, or a type of feedback."""

    offer_id: str
    event: str
    placement: str | None
    at_us: int


class GlobalCount(NamedTuple):
    """How often ``event`` happened to an offer on one UTC day (``YYYY-MM-DD``) in one placement, over all users."""

    offer_id: str
    event: str
    day: str
    placement: str | None
    n: int


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One line of live behaviour; the columns of ``features/events.py``, ``props`` being a JSON object or None."""

    event_id: str
    user_id: str
    event_type: str
    event_at_us: int
    channel: str | None = None
    category_id: str | None = None
    item_id: str | None = None
    store_id: str | None = None
    order_id: str | None = None
    quantity: float | None = None
    amount: float | None = None
    props: str | None = None


class ReceivedEvent(NamedTuple):
    """A live event with its place in the queue and the instant at which we learned of it."""

    seq: int
    received_at_us: int
    event: LiveEvent


class Health(NamedTuple):
    """How far the refresher is: the newest ``seq`` queued, the newest refreshed, and when it last said so (0 never)."""

    last_seq: int
    refreshed_seq: int
    refreshed_at_us: int


EMPTY_QUEUE = Health(0, 0, 0)


@dataclass(frozen=True, slots=True)
class UserState:
    """What the log knows of a user at one instant, from one consistent read.

    ``opted_out`` holds channels, or ``ALL_CHANNELS``; ``not_interested`` maps an offer or item to when it was said;
    ``actions`` and ``fresh`` are oldest first, ``counts`` are those of the offers that were asked about. A user of whom
    nothing is known is personalised and has the rest empty.
    """

    user_id: str
    personalization: bool = True
    consent: Mapping[str, bool] = field(default_factory=dict)
    opted_out: frozenset[str] = frozenset()
    deleted_tags: frozenset[str] = frozenset()
    not_interested: Mapping[str, int] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    fresh: tuple[LiveEvent, ...] = ()
    health: Health = EMPTY_QUEUE
    counts: tuple[GlobalCount, ...] = ()

    def is_opted_out(self, channel: str | None) -> bool:
        """Whether this user may not be approached on ``channel``.

        Examples
        --------
        >>> UserState("u", opted_out=frozenset({"sms"})).is_opted_out("wecom")
        False
        """
        return ALL_CHANNELS in self.opted_out or channel in self.opted_out


@dataclass(frozen=True, slots=True)
class Feedback:
    """One event of feedback on an offer of a decision.

    ``rank`` None means the best rank of that offer; ``channel`` None that of the offer. ``attributes["item_id"]``
    names the item that a ``not_interested`` is about, beside the offer.
    """

    event_id: str
    decision_id: str
    offer_id: str | None
    type: str
    at_us: int
    rank: int | None = None
    value: float | None = None
    currency: str | None = None
    channel: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


class QueueLag(NamedTuple):
    """Live events that are in no feature yet, when the first of them was received, and those in no event store yet."""

    waiting: int
    oldest_us: int | None
    undrained: int


class Rejected(NamedTuple):
    """An event that was not taken, and why: its code, a sentence for people, its place in the batch."""

    event_id: str
    error: str
    detail: str
    place: int = 0


@dataclass(frozen=True, slots=True)
class FeedbackAnswer:
    """What became of a batch; ``late`` names the accepted events that came after the window of their type had closed.

    ``repeated`` is True when this is the answer of before to the same Idempotency-Key.
    """

    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...] = ()
    late: tuple[str, ...] = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class EventsAnswer:
    """What became of a batch of live events; ``last_seq`` is the newest place in the queue after it."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...] = ()
    last_seq: int = 0
