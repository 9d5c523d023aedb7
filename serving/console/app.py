"""The console as one ASGI app, mounted at ``/console``: pages in a thread of their own, nothing from elsewhere."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.aside import Aside
from serving.access.scopes import ENTER
from serving.console.assets import asset, files, plotly_styles
from serving.console.enter import LEAVE, door, enter, leave
from serving.console.frame import COOKIE, HEADERS, PREFIX, answer, problem_page
from serving.console.page import compiled
from serving.console.words import LANGUAGES
from serving.errors.problem import Problem, from_status

if TYPE_CHECKING:
    from serving.access.gate import Gate
    from serving.console.asked import View
    from serving.live import Live

__all__ = ["PREFIX", "console_app", "problem_response", "view", "warm"]

YEAR_S = 365 * 86_400
MOST_WAITING = 32  # questions of reviewers, each of some milliseconds
SWITCH_S = 0.0002  # of 5 ms by default; from then on, in a worker whose console is used

# By name: the parent of the workers imports this module too, and must not load what pages are made of.
GETS: Mapping[str, str] = {
    "/models": "models:page",
    "/models/{model}": "models:page",
    "/models/{model}/compare": "compare:page",
    "/models/{model}/{version}": "card:page",
    "/models/{model}/{version}/learned": "learned:page",
    "/users": "users:page",
    "/user": "user:page",
    "/user/what-if": "asked_again:answer",
    "/decisions": "decisions:page",
    "/decision": "decision:page",
}
POSTS: Mapping[str, str] = {"/models/{model}/{version}/sign": "sign:post"}


def console_app(live_of: Callable[[], Live], gate_of: Callable[[], Gate]) -> Starlette:
    """The app; ``live_of`` and ``gate_of`` give what the worker holds, once it does."""
    # One thread: reviewers wait for reviewers, campaigns for nobody.
    thread = Aside("console", most=MOST_WAITING, initializer=_step_back)

    async def aside(work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(thread, work, *arguments)

    def answering(name: str) -> Callable[[Request], Any]:
        async def answered(request: Request) -> Any:
            given = await _form(request) if request.method == "POST" else dict(request.query_params)
            return await aside(lambda: answer(view(name), live_of(), request, given))

        return answered

    async def entering(request: Request) -> Any:
        form = await _form(request)
        back = form.get("back", "")
        return enter(request, form, back if _ours(back) else f"{PREFIX}/models", gate_of())

    async def leaving(request: Request) -> Any:
        return leave()

    async def static(request: Request) -> Any:
        found = await aside(asset, request.path_params["name"])
        if found is None:
            return await aside(problem_page, live_of(), request, from_status(404))
        forever = "v" in request.query_params
        headers = {"etag": found.etag, "vary": "accept-encoding"}
        headers["cache-control"] = f"public, max-age={YEAR_S}, immutable" if forever else "public, max-age=3600"
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            packed = headers | {"content-encoding": "gzip"}
            return Response(found.packed, headers=packed, media_type=found.media_type)
        content = await aside(gzip.decompress, found.packed)
        return Response(content, headers=headers, media_type=found.media_type)

    async def not_here(request: Request, error: Exception) -> Any:
        status = error.status_code if isinstance(error, HTTPException) else 500
        problem = from_status(status, getattr(error, "headers", None))
        return await aside(problem_page, live_of(), request, problem)

    async def overloaded(request: Request, error: Exception) -> Any:
        return problem_page(live_of(), request, cast("Problem", error))  # by whoever is here: the thread has enough

    return Starlette(
        routes=[
            Route("/", lambda request: RedirectResponse(f"{PREFIX}/models")),
            *(Route(path, answering(name), methods=["GET"]) for path, name in GETS.items()),
            *(Route(path, answering(name), methods=["POST"]) for path, name in POSTS.items()),
            Route("/language", _language, methods=["POST"]),
            Route(ENTER.removeprefix(PREFIX), entering, methods=["POST"]),
            Route(LEAVE.removeprefix(PREFIX), leaving, methods=["POST"]),
            Route("/static/{name}", static, methods=["GET"]),
        ],
        exception_handlers={HTTPException: not_here, Problem: overloaded},
        middleware=[Middleware(_Headers)],
    )


def view(name: str) -> View:
    """The view ``module:function`` of this package."""
    found: View = resolve_name(f"serving.console.{name}")
    return found


def warm() -> None:
    """Load what the first page would otherwise wait for: the pages, words, templates, the scripts packed.

    Not SQLAlchemy, 20 MB in every worker: the first reader of the audit table waits a third of a second for it.
    """
    for name in (*GETS.values(), *POSTS.values()):
        view(name)
    for lang in LANGUAGES:
        compiled(lang)
    for name in files():
        asset(name)
    plotly_styles()


def problem_response(live: Live, scope: Scope, problem: Problem) -> Response:
    """What the border of the service refuses below ``/console``, as a page."""
    if problem.status == 401:
        return door(Request(scope), problem)
    response = problem_page(live, Request(scope), problem)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class _Headers:
    """Every answer has the headers of the console, whoever made it; those that it has already stay."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, sending)


def _step_back() -> None:
    """Let the thread that answers campaigns have the interpreter back soon: it waits for whoever holds it.

    A lower priority of this thread would do harm: on busy processors it would hold the interpreter for longer.
    """
    sys.setswitchinterval(SWITCH_S)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; browsers send them as ``application/x-www-form-urlencoded``."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=50))
    except ValueError:  # more fields than any form of ours has
        return {}


async def _language(request: Request) -> Response:
    """Remember the language and go back; only to a page of ours."""
    form = await _form(request)
    back, lang = form.get("back", ""), form.get("lang", "")
    response = RedirectResponse(back if _ours(back) else f"{PREFIX}/models", 303)
    if lang in LANGUAGES:
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, lang, YEAR_S, path=PREFIX, httponly=True, samesite="lax", secure=secure)
    return response


def _ours(address: str) -> bool:
    r"""Whether a browser that is sent to ``address`` arrives at a page of the console.

    Examples
    --------
    >>> [_ours(one) for one in ("/console/user?id=a%2Fb", "//evil", "/\\evil", "/console/../v1", "/console/%2e%2e/x")]
    [True, False, False, False, False]
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    steps = unquote(parts.path).split("/")
    plain = address.isprintable() and "\\" not in unquote(parts.path) and not parts.scheme and not parts.netloc
    return plain and address.startswith(f"{PREFIX}/") and not {".", ".."} & set(steps)
