"""``POST /v1/feedback`` and ``POST /v1/events``: what campaign systems and shops tell; good entries of a batch stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import perf_counter
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from configs.errors import IdempotencyConflict
from serving.batch import microseconds
from serving.encode import json_response
from serving.endpoints.body import digest_of, live_of, read
from serving.errors.problem import Problem, from_validation, shown
from serving.log import Feedback
from serving.log import LiveEvent as Event
from serving.metrics import metrics
from serving.schemas_feedback import MOST_EVENTS, EventBatch, FeedbackBatch, FeedbackEvent, LiveEvent

__all__ = ["ROUTES"]

_T = TypeVar("_T", bound=BaseModel)
_KEY_LENGTH = 255
# Which field each error of the log is about, and what it should have been; None: what the log says.
_ABOUT: dict[str, tuple[str | None, str | None]] = {
    "INVALID_TEXT": (None, "texts without NUL and half surrogate pairs"),
    "INVALID_NUMBER": ("value", "a finite number"),
    "CONFLICTING_EVENT": ("event_id", "an id of its own, or the content that came with this one before"),
    "UNKNOWN_TYPE": ("type", None),
    "UNKNOWN_DECISION": ("decision_id", "the id of a decision on record"),
    "UNKNOWN_OFFER": ("offer_id", None),
    "FUTURE_TIMESTAMP": ("ts", "at most now + 60 s"),
    "BEFORE_DECISION": ("ts", "at least the instant of the decision - 60 s"),
    "CONTRADICTORY": (
        "type",
        "what does not contradict the feedback before: a return after an order, one of two opposites",
    ),
    "FORGOTTEN": ("user_id", "somebody whom userops forget has not erased"),
    "BEFORE_1970": ("ts", "at least 1970-01-01T00:00:00Z"),
}


async def feedback(request: Request) -> Response:
    """``POST /v1/feedback``."""
    began = perf_counter()
    batch = await read(request, FeedbackBatch)
    _check_many(batch)
    key = _key(request)
    live = live_of(request)
    good, rejected = _sound(batch.events, FeedbackEvent)
    with live.logging():
        try:
            answer = live.log().feedback(
                [_feedback(event) for _, event in good],
                key,
                at_us=microseconds(live.now()),
                body_digest=digest_of(batch),
            )
        except IdempotencyConflict:
            raise Problem(
                409,
                "idempotency-key-reused",
                "this Idempotency-Key came with another body within 24 hours",
                field="Idempotency-Key",
                expected="the same body, or another key",
                got=shown(key),
                request_id=batch.request_id,
            ) from None
    told = [*rejected, *_named(answer.rejected, good)]
    return _answer("feedback", answer.accepted, answer.duplicates, told, began, late=list(answer.late))


async def events(request: Request) -> Response:
    """``POST /v1/events``."""
    began = perf_counter()
    batch = await read(request, EventBatch)
    _check_many(batch)
    live = live_of(request)
    good, rejected = _sound(batch.events, LiveEvent)
    known: list[tuple[int, Event]] = []
    with live.logging():
        log = live.log()
        for index, event in good:
            user_id = event.user_id
            if (user_id is None) == (event.identity is None):
                expected = "exactly one of user_id and identity"
                rejected.append(_bad(index, event.event_id, "INVALID_EVENT", "user_id", expected))
                continue
            if event.identity is not None:
                user_id = log.resolve(event.identity.namespace, event.identity.id)
                # The same name under which a decision knows who has no OneID.
                user_id = user_id or f"{event.identity.namespace}:{event.identity.id}"
            known.append((index, _event(event, str(user_id))))
        answer = log.events([event for _, event in known], at_us=microseconds(live.now()))
    told = [*rejected, *_named(answer.rejected, known)]
    return _answer("events", answer.accepted, answer.duplicates, told, began)


def _check_many(batch: FeedbackBatch | EventBatch) -> None:
    if len(batch.events) > MOST_EVENTS:
        detail, expected = "too many entries in one batch", f"at most {MOST_EVENTS}"
        got = len(batch.events)
        raise Problem(413, "too-large", detail, field="events", expected=expected, got=got, request_id=batch.request_id)


def _sound(entries: Sequence[Any], schema: type[_T]) -> tuple[list[tuple[int, _T]], list[dict[str, Any]]]:
    """The entries that fit their schema with their places, and what is wrong with the others."""
    good: list[tuple[int, _T]] = []
    rejected: list[dict[str, Any]] = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            rejected.append(_bad(index, None, "INVALID_EVENT", None, "an object", f"got {shown(entry)}"))
            continue
        own = entry.get("event_id")
        name = own if isinstance(own, str) and len(own) <= 128 else None
        try:
            # From JSON again: only there is an instant written as text.
            good.append((index, schema.model_validate_json(json.dumps(entry))))
        except ValidationError as error:
            problem = from_validation(error, given=entry)
            rejected.append(_bad(index, name, "INVALID_EVENT", problem.field, problem.expected, problem.detail))
        except ValueError:  # a number of thousands of digits
            rejected.append(_bad(index, name, "INVALID_EVENT", None, "numbers of at most 16 digits"))
    return good, rejected


def _bad(
    index: int, event_id: str | None, error: str, field: str | None, expected: Any, detail: str | None = None
) -> dict[str, Any]:
    place = f"events[{index}]"
    return {
        "event_id": event_id,
        "index": index,
        "error": error,
        "field": place if field is None else f"{place}.{field}",
        "expected": expected,
        "detail": detail or str(expected),
    }


def _named(rejected: Sequence[Any], sent: Sequence[tuple[int, Any]]) -> list[dict[str, Any]]:
    """What the log did not take, with its place in the batch, the field at fault and what it should have been."""
    told = []
    for one in rejected:
        field, expected = _ABOUT.get(one.error, (None, None))
        told.append(
            _bad(sent[one.place][0], one.event_id, one.error, field, expected or one.detail, one.detail or expected)
        )
    return told


def _answer(
    kind: str, accepted: int, duplicates: int, rejected: list[dict[str, Any]], began: float, **more: Any
) -> Response:
    metrics().received(kind, accepted, duplicates, len(rejected))
    took_ms = round(1e3 * (perf_counter() - began), 3)
    rejected = sorted(rejected, key=lambda one: int(one["index"]))
    content = {"accepted": accepted, "duplicates": duplicates, "rejected": rejected, **more, "took_ms": took_ms}
    return json_response(content)


def _key(request: Request) -> str | None:
    key: str | None = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= _KEY_LENGTH and key.isascii() and key.isprintable()):
        expected = f"1 to {_KEY_LENGTH} printable ASCII characters"
        raise Problem(
            400,
            "invalid-request",
            "the Idempotency-Key cannot be one",
            field="Idempotency-Key",
            expected=expected,
            got=shown(key),
        )
    return key


def _feedback(event: FeedbackEvent) -> Feedback:
    return Feedback(
        event_id=event.event_id,
        decision_id=event.decision_id,
        offer_id=event.offer_id,
        type=event.type,
        at_us=microseconds(event.ts),
        rank=event.rank,
        value=event.value,
        currency=event.currency,
        channel=event.channel,
        attributes=event.attributes,
    )


def _event(event: LiveEvent, user_id: str) -> Event:
    props = event.attributes
    return Event(
        event_id=event.event_id,
        user_id=user_id,
        event_type=event.type,
        event_at_us=microseconds(event.ts),
        channel=event.channel,
        category_id=event.category_id,
        item_id=event.item_id,
        store_id=event.store_id,
        order_id=event.order_id,
        quantity=event.quantity,
        amount=event.amount,
        props=json.dumps(props, sort_keys=True, ensure_ascii=False) if props else None,
    )


ROUTES = [
    Route("/v1/feedback", feedback, methods=["POST"]),
    Route("/v1/events", events, methods=["POST"]),
]
