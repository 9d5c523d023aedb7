"""What stands around every page: who asks in which language, what goes wrong, the headers, compression."""

from __future__ import annotations

import gzip
import logging
import re
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from configs.errors import UseropsError
from serving.access.gate import KEY
from serving.console.asked import Asked, View
from serving.console.desk import Desk
from serving.console.export import self_contained
from serving.console.page import Page, render
from serving.console.words import LANGUAGES, words
from serving.errors.problem import Problem, from_status
from serving.loglines import path_of

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["COOKIE", "HEADERS", "POLICY", "PREFIX", "answer", "back_to", "language", "page_of", "problem_page"]

PREFIX = "/console"
COOKIE = "userops_lang"
PACKED_FROM = 2000  # bytes: what is smaller goes out in two packets anyway
# Nothing from another origin, no script or style within a page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
    "vary": "accept-encoding, accept-language, cookie",
}
_log = logging.getLogger("bentoml.userops")


def answer(view: View, live: Live, request: Request, given: Mapping[str, str]) -> Response:
    """The answer to one question; runs in the console's thread."""
    began = perf_counter()
    headers, address = dict(request.headers), request.client.host if request.client else ""
    spoken, holder = words(language(request)), _holder(request)
    desk, path = Desk(live.config.home), back_to(request)
    asked = Asked(live, desk, spoken, path, given, request.path_params, headers, address, holder)
    exported = f"{live.now():%Y-%m-%d %H:%M}" if request.query_params.get("export") == "html" else None
    response = page_of(view, asked, exported)
    if exported and response.status_code == 200:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", request.url.path.strip("/"))
        response.headers["content-disposition"] = f'attachment; filename="{name}.html"'
    _pack(response, request)
    response.headers["server-timing"] = f"page;dur={1e3 * (perf_counter() - began):.1f}"
    return response


def page_of(view: View, asked: Asked, exported: str | None = None) -> Response:
    """The answer to a question, as HTML; what goes wrong is a page too, which tells nothing of our insides."""
    try:
        try:
            made = view(asked)
        except Problem as problem:
            made = _failed(asked, problem)
        except UseropsError as error:
            _log.error("%s: %s", path_of(asked.path.partition("?")[0]), error)
            what = error.what.replace(str(asked.live.config.home), "home")
            made = _failed(asked, Problem(503, "unavailable", what, expected=error.run))
        return made if isinstance(made, Response) else _rendered(made, asked, exported)
    except Exception:
        # Without what was searched for: an id of a user belongs into no log.
        _log.exception("%s failed", path_of(asked.path.partition("?")[0]))
        return _rendered(_failed(asked, from_status(500)), asked, None)


def problem_page(live: Live, request: Request, problem: Problem) -> Response:
    """A problem that no view has met, such as an address that is none, as a page."""

    def fail(asked: Asked) -> Page:
        raise problem

    response = answer(fail, live, request, {})
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


def language(request: Request) -> str:
    """The language asked for by cookie, else by the browser; English else."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"


def _holder(request: Request) -> str:
    """Whose session it is, if the browser has one."""
    key = request.scope.get(KEY)
    return "" if key is None or "authorization" in request.headers else str(key.name)


def back_to(request: Request) -> str:
    """The address of the page without what asks for a file; of a form, the page on which it stands."""
    path = request.url.path
    if request.method == "POST":
        return path.rpartition("/")[0]
    query = "&".join(part for part in request.url.query.split("&") if part and not part.startswith("export="))
    return path + (f"?{query}" if query else "")


def _failed(asked: Asked, problem: Problem) -> Page:
    key = f"base.error_{problem.status}"
    title = asked.t(key if asked.t.known(key) else "base.error")
    expected = problem.expected
    if isinstance(expected, list | tuple):
        expected = ", ".join(str(one) for one in expected)
    run = expected if isinstance(expected, str) and expected.startswith(("userops ", "run userops ")) else None
    said = problem.detail
    if said == from_status(problem.status).detail:  # those are for machines
        said = asked.t(f"{key}_said") if asked.t.known(f"{key}_said") else ""
    values = {"problem": problem, "said": said, "expected": None if run else expected, "run": run}
    return Page("error.html", title, "", values, problem.status)


def _rendered(made: Page, asked: Asked, exported: str | None) -> Response:
    pickup, exported = asked.live.pickup, exported if made.status == 200 else None
    release = pickup.live.bundle.release_id if pickup.live else None
    frame: dict[str, Any] = {"path": asked.path, "release": release, "exported": exported, "holder": asked.holder}
    html = render(made, asked.lang, frame)
    return HTMLResponse(self_contained(html) if exported else html, made.status)


def _pack(response: Response, request: Request) -> None:
    body = bytes(response.body)
    if len(body) >= PACKED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        response.body = gzip.compress(body, 5, mtime=0)
        response.headers["content-encoding"] = "gzip"
        response.headers["content-length"] = str(len(response.body))
