"""The socket of a worker, with limits that uvicorn does not have: on heads of requests, on connections, on the queue.

A worker works at one request at a time, so requests wait where they cannot see how long the queue is: as tasks of the
event loop. Whoever arrives when `MOST_WAITING` are there is answered 503 at once, before anything is done for it, so
those that were let in are answered soon. Requests whose body is still on its way hold nobody up and are not counted.
A body that nobody reads (its request was refused) ends within as many seconds as a head, or its connection does: else
whoever has no key could hold every connection open for ever.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import uvicorn.config
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.access.arriving import Arriving, arriving
from serving.access.headers import secured
from serving.access.scopes import OPEN
from serving.errors.problem import Problem
from serving.metrics import metrics

__all__ = ["BoundedProtocol", "install"]

_FILES = 1_000  # that are no connections of callers
_NAME = f"{__name__}:BoundedProtocol"
_leaving = Arriving()


def install(most_waiting: int) -> None:
    """Let the uvicorn that this process is about to start use `BoundedProtocol`; BentoML asks for its default."""
    BoundedProtocol.most_waiting = most_waiting
    # Many systems begin with 1,024 open files: they would be gone before our own limit is met, and stores need some.
    wanted, (soft, hard) = BoundedProtocol.most_connections + _FILES, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    uvicorn.config.HTTP_PROTOCOLS["auto"] = _NAME


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Sizes in bytes; ``most_arriving`` bodies may be on their way at once."""

    most_waiting = 32
    most_arriving = 256
    most_connections = 2000
    most_head = 32_768
    most_headers = 100
    most_url = 8_192
    head_seconds = 10.0

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.ws_protocol_class = None  # nothing here speaks it, and the gate knows requests alone
        self.app: Any = _Door(config.loaded_app, type(self), server_state.tasks)
        self._in_head, self._in_body, self._head = True, False, 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody connects; with too many there already, they are told so and shown out."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            metrics().shed("connections")
            detail = "more callers are here than there is room for; try again later"
            self._show_out(Problem(503, "overloaded", detail, headers={"retry-after": "1"}))
            return
        self._wait(self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._waited()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes: of a head only so many, and only for so long."""
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > self.most_head:
            self._show_out(_long_head(type(self)))
        elif self._timer is None and not self._answering:
            # Once a byte has come, uvicorn waits for the rest, whatever it is of, for ever.
            self._wait(self._too_slow if self._in_head else self._close)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._waited()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head, self._in_body = False, True
        self._waited()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self._in_body, self._head = False, 0  # of these bytes, some may be the next head: which, nobody knows
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered; the rest of its body, if there is one, is read by nobody."""
        super().on_response_complete()
        if self._timer is None and self._in_body and not self._answering:
            self._wait(self._close)

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._show_out(Problem(400, "invalid-request", "this is no HTTP request", expected="HTTP/1.1"))

    def _too_slow(self) -> None:
        detail, expected = "the head of the request did not arrive in time", f"within {self.head_seconds:g} seconds"
        self._show_out(Problem(408, "request-timeout", detail, expected=expected))

    def _close(self) -> None:
        self.transport.close()

    def _wait(self, then: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(self.head_seconds, then)

    def _waited(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _show_out(self, problem: Problem) -> None:
        cycle = self.cycle
        # Of a request that is being answered, or waits for its turn, only the body may be what is wrong.
        its_turn = not self._answering or (self._in_body and not self.pipeline and not cycle.response_started)
        if its_turn and not self.transport.is_closing():
            response = problem.response()
            lines = [b"%s: %s" % one for one in secured(response.raw_headers)]
            phrase = HTTPStatus(problem.status).phrase.encode()
            head = [b"HTTP/1.1 %d %s" % (problem.status, phrase), *lines, b"connection: close", b""]
            self.transport.write(b"\r\n".join([*head, bytes(response.body)]))
        self.transport.close()


class _Door:
    """The application, for as many as there is room for."""

    __slots__ = ("_app", "_limits", "_tasks")

    def __init__(self, app: ASGIApp, limits: type[BoundedProtocol], tasks: set[Any]) -> None:
        self._app, self._limits, self._tasks = app, limits, tasks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse before anything is done."""
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
            return
        response = problem.response()
        response.raw_headers = secured(response.raw_headers)
        # This task stays among the others until the loop comes round, and must not keep out whoever is there as well.
        _leaving.add()
        asyncio.get_running_loop().call_soon(_leaving.drop)
        await response(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        limits, headers = self._limits, scope["headers"]
        if len(scope["raw_path"]) + len(scope["query_string"]) > limits.most_url:
            return Problem(414, "uri-too-long", "the address is too long", expected=f"at most {limits.most_url} bytes")
        if len(headers) > limits.most_headers or sum(len(n) + len(v) for n, v in headers) > limits.most_head:
            return _long_head(limits)
        waiting = len(self._tasks) - arriving.count - _leaving.count
        if scope["path"] in OPEN or (waiting <= limits.most_waiting and arriving.count <= limits.most_arriving):
            return None
        metrics().shed("queue")
        detail = "more requests wait than can be answered soon; try again later"
        return Problem(503, "overloaded", detail, headers={"retry-after": "1"})


def _long_head(limits: type[BoundedProtocol]) -> Problem:
    expected = f"at most {limits.most_headers} headers of {limits.most_head} bytes together"
    return Problem(431, "headers-too-large", "the headers are too long", expected=expected)
