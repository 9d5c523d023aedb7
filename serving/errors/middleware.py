"""The border of the service: nothing large, slow or malformed gets in, and every error that gets out has one shape.

BentoML and Starlette answer errors in five different shapes (JSON objects, arrays, plain text); whatever leaves with a
status of 400 or more without being a problem document becomes one here, headers such as ``Allow`` kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.arriving import arriving
from serving.access.headers import secured
from serving.errors.problem import MEDIA_TYPE, Problem, from_status
from serving.loglines import path_of

__all__ = ["Pages", "ProblemMiddleware"]

#: Where people read, by the beginning of the address: errors there are pages, made of a problem by the function.
Pages = Mapping[str, Callable[[Scope, Problem], Response]]
_KEPT = (b"allow", b"retry-after", b"www-authenticate")
_log = logging.getLogger("bentoml.userops")


class ProblemMiddleware:
    """Lets in, bounds the body, renders ``Problem`` and stray errors.

    Parameters
    ----------
    max_body_bytes
        A longer body is refused with 413, by its ``Content-Length`` or, when it comes in chunks, as soon as it is.
    body_timeout_s, answer_timeout_s
        A body that takes longer to arrive is refused with 408, an answer that takes longer is given up with 504.
    pages
        The addresses whose errors may be HTML.
    admit
        Called with the scope before anything else is looked at; raises the problem of whom it does not let in.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int,
        body_timeout_s: float = 15.0,
        answer_timeout_s: float = 40.0,
        pages: Pages | None = None,
        admit: Callable[[Scope], None] | None = None,
    ) -> None:
        self.app, self.max_body_bytes, self.pages = app, max_body_bytes, pages or {}
        self.admit = admit
        self.body_timeout_s, self.answer_timeout_s = body_timeout_s, answer_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, _page(self.pages, scope["path"]))
        try:
            if self.admit is not None:
                self.admit(scope)
            body = await self._body(scope, receive)
            if body is None:  # the client went away
                return
            if scope["path"] == "/" or scope["path"].startswith("/static_content"):
                # BentoML's own page loads scripts from other hosts.
                raise Problem(404, "not-found", "there is no page here", expected="/docs.json")
            async with asyncio.timeout(self.answer_timeout_s):
                await self.app(scope, _replay(body, receive), answer)
            if answer.replaced is not None:
                await answer.problem(scope, receive, answer.replaced)
        except Problem as problem:
            await answer.problem(scope, receive, problem)
        except TimeoutError:
            _log.error("%s %s gave no answer in %g s", scope["method"], path_of(scope["path"]), self.answer_timeout_s)
            await answer.problem(scope, receive, from_status(504))
        except Exception:
            if answer.started:
                raise
            _log.exception("%s %s failed", scope["method"], path_of(scope["path"]))
            await answer.problem(scope, receive, from_status(500))

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self.max_body_bytes:
            raise self._too_large(int(length))
        if not length and b"transfer-encoding" not in headers and scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return b""
        chunks: list[bytes] = []
        size = 0
        try:
            with arriving:
                async with asyncio.timeout(self.body_timeout_s):
                    while True:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return None
                        chunks.append(message.get("body", b""))
                        size += len(chunks[-1])
                        if size > self.max_body_bytes:
                            raise self._too_large(size)
                        if not message.get("more_body", False):
                            return b"".join(chunks)
        except TimeoutError:
            expected = f"within {self.body_timeout_s:g} seconds"
            raise Problem(408, "request-timeout", "the body did not arrive in time", expected=expected) from None

    def _too_large(self, size: int) -> Problem:
        return Problem(
            413,
            "too-large",
            "the body is too large",
            expected=f"at most {self.max_body_bytes} bytes",
            got=f"{size} bytes or more",
            # The rest of the body is not read, so the connection cannot carry another request.
            headers={"connection": "close"},
        )


class _Answer:
    """Passes a response on, unless it is an error of another shape: that one is held back and replaced."""

    def __init__(self, send: Send, page: Callable[[Scope, Problem], Response] | None) -> None:
        self._send, self._page = send, page
        self.started = False
        self.status = 0
        self.replaced: Problem | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            media_type = next((value for key, value in headers if key.lower() == b"content-type"), b"")
            # A script of a page asks for JSON.
            allowed = (MEDIA_TYPE.encode(), *((b"text/html",) if self._page else ()))
            if message["status"] >= 400 and not media_type.startswith(allowed):
                kept = {key.decode(): value.decode("latin-1") for key, value in headers if key.lower() in _KEPT}
                self.replaced = from_status(message["status"], kept)
                return
            self.started, self.status = True, message["status"]
            message["headers"] = secured(headers)
        elif self.replaced is not None:
            return
        await self._send(message)

    async def problem(self, scope: Scope, receive: Receive, problem: Problem) -> None:
        if self.started:
            return
        self.started, self.status = True, problem.status
        response = self._response(scope, problem)
        response.raw_headers = secured(response.raw_headers)
        await response(scope, receive, self._send)

    def _response(self, scope: Scope, problem: Problem) -> Response:
        if self._page is not None:
            try:
                # On the event loop: these pages are small, and the thread that makes pages may be what is stuck.
                return self._page(scope, problem)
            except Exception:
                _log.exception("no page could be made of %s for %s", problem.status, path_of(scope["path"]))
        return problem.response(problem.request_id)


def _page(pages: Pages, path: str) -> Callable[[Scope, Problem], Response] | None:
    found = (page for prefix, page in pages.items() if path == prefix or path.startswith(f"{prefix}/"))
    return next(found, None)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Any:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
