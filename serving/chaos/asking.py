"""Questions that the faults ask, and what every answer must be while something is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

from serving.chaos.callers import Question
from serving.chaos.fault import require
from serving.chaos.service import Reply, Service

__all__ = ["check_refusal", "decide", "decisions", "fell_back", "refused", "telling", "unreadable"]

OFFER = "/v1/next-best-offer"
PATIENCE_SECONDS = 5.0  # a refusal that comes later keeps somebody waiting


def decide(service: Service, user: str, **more: object) -> Reply:
    """Ask for the next best offer, which is logged."""
    return service.post(OFFER, {"user_id": user, "limit": 2, "explain": {"level": "none"}, **more})


def decisions(users: Sequence[str]) -> Callable[[int], Question]:
    """Questions for the next best offer of these users in turn, each with a request id of its own."""
    run = uuid4().hex[:12]

    def make(number: int) -> Question:
        name = f"chaos-{run}-{number}"
        user = users[number % len(users)]
        body = {"request_id": name, "user_id": user, "limit": 2, "explain": {"level": "none"}}
        return Question(name, OFFER, to_json(body))

    return make


def telling(path: str, entries: Callable[[str], dict[str, Any]], each: int = 5) -> Callable[[int], Question]:
    """Batches of ``each`` entries for ``path``; ``entries`` makes one of its event id."""
    run = uuid4().hex[:12]

    def make(number: int) -> Question:
        ids = [f"chaos-{run}-{number}-{place}" for place in range(each)]
        return Question(ids[0], path, to_json({"events": [entries(one) for one in ids]}))

    return make


def refused(what: str, reply: Reply) -> str:
    """Require a refusal that says why and when to come again, within a few seconds; what it said."""
    check_refusal(what, reply)
    require(reply.seconds < PATIENCE_SECONDS, f"{what}: refused only after {reply.seconds:.1f} s")
    return f"{what} {reply.status}"


def check_refusal(what: str, reply: Reply) -> None:
    """Require status 429 or 503 with ``Retry-After`` and a reason."""
    got = f"{what}: {reply.status} {reply.content[:200].decode('utf-8', 'replace')}"
    require(reply.status in (429, 503), got)
    require(reply.retry_after and reply.retry_after.isdigit(), f"{what}: {reply.status} without Retry-After")
    require(reply.told.get("detail"), f"{what}: {reply.status} that does not say why")


def fell_back(what: str, reply: Reply, reason: str) -> str:
    """Require a fallback for ``reason``, and no score in it; what it said."""
    told = reply.told
    got = f"{what}: {reply.status} {told.get('status')} {told.get('status_reason')}"
    require(reply.status == 200 and told.get("status") == "fallback", got)
    require(told.get("status_reason") == reason, got)
    require(not told.get("offers"), f"{what}: a fallback with offers")
    return f"{what} fallback {reason}"


def unreadable(service: Service, user: str) -> str:
    """Require that nobody whose features cannot be read is scored, and that the service says so; what it said."""
    scores = service.post("/v1/score/churn", {"user_ids": [user], "explain": {"level": "none"}})
    seen = [refused("scores", scores), fell_back("offers", decide(service, user), "FEATURES_UNAVAILABLE")]
    require(service.get("/livez").status == 200, "the service says that it is dead")
    return ", ".join(seen)
