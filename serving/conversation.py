"""One question to the service, sent again while it makes sense: without input or output, for both clients."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel

__all__ = ["Call", "Refused", "Retries", "converse"]

_T = TypeVar("_T", bound=BaseModel)
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Refused(Exception):
    """The service said no; ``problem`` is its document, ``status`` 0 when nobody answered at all."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"status {status}"))
        self.status, self.problem = status, dict(problem)


@dataclass(frozen=True)
class Retries:
    """How often and how patiently: pauses double from ``first_s``, with jitter, never beyond ``longest_s``."""

    attempts: int = 4
    first_s: float = 0.1
    longest_s: float = 10.0

    def pause_s(self, attempt: int, retry_after: str | None, now: datetime) -> float:
        """Seconds to wait after attempt number ``attempt`` (from 0); what the service asks for is a lower bound.

        Examples
        --------
        >>> Retries().pause_s(0, "3", datetime.now(UTC))
        3.0
        >>> 0.2 <= Retries().pause_s(2, None, datetime.now(UTC)) <= 0.4
        True
        """
        # Many clients that failed together must not come back together.
        own = self.first_s * 2.0**attempt * random.uniform(0.5, 1.0)
        return min(self.longest_s, max(own, _asked_s(retry_after, now)))


def _asked_s(retry_after: str | None, now: datetime) -> float:
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - now).total_seconds())
    except (TypeError, ValueError):
        return 0.0


@dataclass(frozen=True)
class Call(Generic[_T]):
    """One question: where it goes, what it says and the shape of the answer."""

    method: str
    path: str
    answer: type[_T]
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


# None is yielded for the call to be sent, a number for seconds to be slept.
_Steps = Generator[float | None, httpx.Response | httpx.TransportError | None, _T]


def converse(call: Call[_T], retries: Retries) -> _Steps[_T]:
    """The whole conversation without input and output; both clients drive this one."""
    for attempt in range(max(1, retries.attempts)):
        got = yield None
        last = attempt + 1 >= retries.attempts
        if isinstance(got, httpx.Response):
            if got.status_code < 400:
                return call.answer.model_validate_json(got.content)
            if last or got.status_code not in _AGAIN:
                raise Refused(got.status_code, _problem(got))
            yield retries.pause_s(attempt, got.headers.get("retry-after"), datetime.now(UTC))
        else:
            if last:
                raise Refused(0, {"detail": f"nobody answers: {got}"}) from got
            yield retries.pause_s(attempt, None, datetime.now(UTC))
    raise AssertionError("the last attempt answers or raises")


def _problem(got: httpx.Response) -> dict[str, Any]:
    try:
        told = got.json()
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {"detail": got.text[:200]}
