"""What campaign systems tell afterwards: ``POST /v1/feedback`` and ``POST /v1/events``.

The entries of a batch are checked one by one, so that a bad one is named and the others are taken.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from serving.schemas import Strict, UserId
from serving.schemas_nbo import Attributes, Identity, Line

__all__ = ["MOST_EVENTS", "BatchAnswer", "EventBatch", "FeedbackBatch", "FeedbackEvent", "LiveEvent"]

MOST_EVENTS = 500

FeedbackType = Literal[
    "impression", "click", "accept", "reject", "like", "not_interested", "more_info", "order", "return", "unsubscribe"
]
# features.events.KINDS, which this module must not import: it brings ibis along.
EventType = Literal[
    "register",
    "visit",
    "view",
    "search",
    "cart",
    "purchase",
    "return",
    "coupon",
    "impression",
    "click",
    "contact",
    "survey",
]
Amount = Annotated[float, Field(ge=-1e9, le=1e9)]
# Anything: what is no object is one rejected entry among good ones.
Entry = Any


class FeedbackEvent(Strict):
    """What became of one offer of one decision."""

    event_id: UserId
    decision_id: UserId
    offer_id: Line | None = Field(default=None, description="only an unsubscribe may name none")
    rank: int | None = Field(default=None, ge=1, le=1000)
    type: FeedbackType
    value: Amount | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    ts: AwareDatetime
    channel: Line | None = None
    attributes: Attributes


class FeedbackBatch(Strict):
    """Up to 500 of them; ``request_id`` is echoed in errors."""

    events: list[Entry] = Field(min_length=1, description=f"at most {MOST_EVENTS}; more are a 413")
    request_id: UserId | None = None


class LiveEvent(Strict):
    """Something a user did just now, as the event catalogue knows it."""

    event_id: UserId
    user_id: UserId | None = None
    identity: Identity | None = Field(default=None, description="instead of user_id")
    type: EventType
    ts: AwareDatetime
    item_id: Line | None = None
    category_id: Line | None = Field(default=None, description="null: the item's, where the item is known")
    order_id: Line | None = Field(default=None, description="lines with the same one are one purchase")
    quantity: Annotated[float, Field(ge=0, le=1e6)] | None = None
    amount: Annotated[float, Field(ge=0, le=1e9)] | None = Field(default=None, description="money of the line")
    store_id: Line | None = None
    channel: Line | None = None
    attributes: Attributes


class EventBatch(Strict):
    """Up to 500 of them; ``request_id`` is echoed in errors."""

    events: list[Entry] = Field(min_length=1, description=f"at most {MOST_EVENTS}; more are a 413")
    request_id: UserId | None = None


class Rejected(BaseModel):
    """An entry that was not taken, and why; ``index`` is its place in the batch."""

    event_id: str | None
    index: int
    error: str
    field: str | None = None
    expected: Any = None
    detail: str | None = None


class BatchAnswer(BaseModel):
    """``accepted + duplicates + len(rejected)`` is the size of the batch."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    late: list[str] = Field(default_factory=list, description="accepted, but the window of their label has closed")
    took_ms: float
