"""What surrounds every answer: counted, timed, and where asked for written as a log line or a span.

What an answer learns about itself on the way (its ids, its stages) goes into the `Told` of its task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import metrics, route_of

if TYPE_CHECKING:
    from serving.traces import Tracer

__all__ = ["QUIET", "Told", "Watch", "note", "note_stage", "told"]

#: Asked for every few seconds by machines: no line of the log tells of them unless they fail.
QUIET = ("/livez", "/healthz", "/readyz", "/metrics")
_log = logging.getLogger("userops.access")


@dataclass(slots=True)
class Told:
    """What is known of the request being answered; never who it is about."""

    request_id: str | None = None
    decision_id: str | None = None
    stages: dict[str, float] = field(default_factory=dict)


_told: ContextVar[Told | None] = ContextVar("told", default=None)


def told() -> Told | None:
    """The request that this task answers; None outside of one."""
    return _told.get()


def note(request_id: str | None = None, decision_id: str | None = None) -> None:
    """Remember under which ids this request can be found again."""
    one = _told.get()
    if one is not None:
        one.request_id = request_id or one.request_id
        one.decision_id = decision_id or one.decision_id


def note_stage(name: str, seconds: float) -> None:
    """One stage of this answer is over; counted, and told of the request."""
    metrics().stage(name, seconds)
    one = _told.get()
    if one is not None:
        one.stages[name] = seconds


class Watch:
    """The outermost layer of the service.

    Parameters
    ----------
    log
        Whether every answer is a line of the log ``userops.access``; its level says how it ended.
    tracer
        Where spans go; called once, in the worker, when the first request comes.
    """

    def __init__(self, app: ASGIApp, log: bool = False, tracer: Callable[[], Tracer | None] = lambda: None) -> None:
        self.app, self.log, self._open = app, log, tracer
        self._tracer: Tracer | None = None
        self._opened = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not self._opened:
            self._tracer, self._opened = self._open(), True
        count, route, status = metrics(), route_of(scope["path"]), 0
        began = perf_counter()
        one = Told()
        token = _told.set(one)
        count.begun()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        span = None if self._tracer is None else self._tracer.begin(scope, route)
        try:
            await self.app(scope, receive, watched)
        finally:
            seconds = perf_counter() - began
            count.answered(route, status, seconds)
            if span is not None and self._tracer is not None:
                self._tracer.end(span, status, one)
            if self.log and (route not in QUIET or status >= 400):
                level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
                more = {"route": route, "method": scope["method"], "status": status, "ms": round(1e3 * seconds, 3)}
                _log.log(level, "%s %s %d", scope["method"], route, status, extra={"told": more})
            _told.reset(token)
