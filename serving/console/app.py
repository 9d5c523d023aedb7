"""The console as one ASGI app, mounted at ``/console``: pages in a thread of their own, nothing from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from configs.errors import UseropsError
from serving.console import card, compare, decision, decisions, learned, models, sign, user, users
from serving.console.asked import Asked, View
from serving.console.assets import files
from serving.console.desk import Desk
from serving.console.export import self_contained
from serving.console.page import Page, render
from serving.console.words import LANGUAGES, words
from serving.errors.problem import Problem

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["POLICY", "PREFIX", "console_app", "page_of"]

PREFIX = "/console"
COOKIE = "userops_lang"
YEAR_S = 365 * 86_400
# Nothing from another origin, no script or style within a page. plotly.js writes one empty style attribute.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}

GETS: Mapping[str, View] = {
    "/models": models.page,
    "/models/{model}": models.page,
    "/models/{model}/compare": compare.page,
    "/models/{model}/{version}": card.page,
    "/models/{model}/{version}/learned": learned.page,
    "/users": users.page,
    "/user": user.page,
    "/decisions": decisions.page,
    "/decision": decision.page,
}
POSTS: Mapping[str, View] = {"/models/{model}/{version}/sign": sign.post}


def console_app(live_of: Callable[[], Live]) -> Starlette:
    """The app; ``live_of`` gives what the worker holds, once it does."""
    # One thread: reviewers wait for reviewers, campaigns for nobody.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="console")

    def answering(view: View) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            given = dict(request.query_params) if request.method == "GET" else await _form(request)
            return await asyncio.get_running_loop().run_in_executor(thread, _answer, view, live_of(), request, given)

        return answer

    return Starlette(
        routes=[
            Route("/", lambda request: RedirectResponse(f"{PREFIX}/models", headers=HEADERS)),
            *(Route(path, answering(view), methods=["GET"]) for path, view in GETS.items()),
            *(Route(path, answering(view), methods=["POST"]) for path, view in POSTS.items()),
            Route("/language", _language, methods=["POST"]),
            Route("/static/{name}", _static, methods=["GET"]),
        ]
    )


def page_of(view: View, asked: Asked, exported: str | None = None) -> Response:
    """The answer to a question, as HTML; what goes wrong is a page too."""
    from starlette.responses import HTMLResponse

    try:
        made = view(asked)
    except Problem as problem:
        made = _failed(asked, problem)
    except UseropsError as error:
        made = _failed(asked, Problem(503, "unavailable", error.what, expected=error.run))
    if isinstance(made, Response):
        return made
    live = asked.live.pickup.live
    frame = {"path": asked.path, "release": live.bundle.release_id if live else None, "exported": exported}
    html = render(made, asked.lang, frame)
    return HTMLResponse(self_contained(html) if exported else html, made.status, HEADERS)


def _answer(view: View, live: Live, request: Request, given: Mapping[str, str]) -> Response:
    lang = _lang(request)
    query = "&".join(f"{part}" for part in request.url.query.split("&") if part and not part.startswith("export="))
    path = request.url.path + (f"?{query}" if query else "")
    heard, address = dict(request.headers), request.client.host if request.client else ""
    asked = Asked(live, Desk(live.config.home), words(lang), path, given, request.path_params, heard, address)
    exported = f"{live.now():%Y-%m-%d %H:%M}" if request.query_params.get("export") == "html" else None
    response = page_of(view, asked, exported)
    if exported and response.status_code == 200:
        name = "-".join(part for part in request.url.path.split("/") if part)
        response.headers["content-disposition"] = f'attachment; filename="{name}.html"'
    return response


def _failed(asked: Asked, problem: Problem) -> Page:
    return Page("error.html", asked.t("base.error"), "", {"problem": problem}, problem.status)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; browsers send them as ``application/x-www-form-urlencoded``."""
    from urllib.parse import parse_qsl

    body = (await request.body()).decode("utf-8", "replace")
    return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=50))


async def _language(request: Request) -> Response:
    """Remember the language and go back; only to a page of ours."""
    form = await _form(request)
    back, lang = form.get("back", ""), form.get("lang", "")
    parts = urlsplit(back)
    inside = not parts.scheme and not parts.netloc and back.startswith(f"{PREFIX}/") and "\\" not in back
    answer = RedirectResponse(back if inside else f"{PREFIX}/models", 303, HEADERS)
    if lang in LANGUAGES:
        answer.set_cookie(COOKIE, lang, max_age=YEAR_S, path=PREFIX, httponly=True, samesite="strict")
    return answer


async def _static(request: Request) -> Response:
    path = files().get(request.path_params["name"])
    if path is None:
        return Response("not found", 404, HEADERS)
    return FileResponse(path, headers={**HEADERS, "cache-control": "public, max-age=3600"})


def _lang(request: Request) -> str:
    """The language asked for by cookie, else by the browser; English else."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"
