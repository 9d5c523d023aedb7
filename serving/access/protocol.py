"""The socket of a worker, with limits that uvicorn does not have: on heads of requests, on connections, on the queue.

A worker works at one request at a time, so requests wait where they cannot see how long the queue is: as tasks of the
event loop. Whoever arrives when `MOST_WAITING` are there is answered 503 at once, before anything is done for it, so
those that were let in are answered soon. Requests whose body is still on its way hold nobody up and are not counted.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn.config
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from serving.access.arriving import Arriving, arriving
from serving.access.headers import secured
from serving.access.scopes import OPEN
from serving.errors.problem import Problem
from serving.metrics import metrics

__all__ = ["BoundedProtocol", "install"]

_NAME = f"{__name__}:BoundedProtocol"
_leaving = Arriving()


def install(most_waiting: int) -> None:
    """Let the uvicorn that this process is about to start use `BoundedProtocol`; BentoML asks for its default."""
    BoundedProtocol.most_waiting = most_waiting
    uvicorn.config.HTTP_PROTOCOLS["auto"] = _NAME


class BoundedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
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
        self._in_head, self._head = True, 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody connects; with too many there already, they are told so and shown out."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            metrics().shed("connections")
            self._show_out(b"503 Service Unavailable", b"retry-after: 1\r\n")
            return
        self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes: of a head only so many, and only for so long."""
        super().data_received(data)
        if not _in_head(self):
            self._head = 0
            self._head_done()
            return
        self._head += len(data)
        if self._head > self.most_head:
            self._show_out(b"431 Request Header Fields Too Large")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def _too_slow(self) -> None:
        self._head_timer = None
        self._show_out(b"408 Request Timeout")

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _show_out(self, status: bytes, more: bytes = b"") -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n%s\r\n" % (status, more))
            self.transport.close()


def _in_head(protocol: Any) -> bool:
    """Whether bytes have come of a head that is not whole yet; h11 knows it itself."""
    connection = getattr(protocol, "conn", None)
    if connection is None:
        return bool(protocol._in_head)
    import h11

    return bool(connection.their_state is h11.IDLE and connection.trailing_data[0])


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
            expected = f"at most {limits.most_headers} headers of {limits.most_head} bytes together"
            return Problem(431, "headers-too-large", "the headers are too long", expected=expected)
        waiting = len(self._tasks) - arriving.count - _leaving.count
        if scope["path"] in OPEN or (waiting <= limits.most_waiting and arriving.count <= limits.most_arriving):
            return None
        metrics().shed("queue")
        detail = "more requests wait than can be answered soon; try again later"
        return Problem(503, "overloaded", detail, headers={"retry-after": "1"})
