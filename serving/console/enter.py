"""How a reviewer comes in once the service asks for keys: a page for the key, a session, and the way out again.

The page needs nothing else of the service, not even its style sheet: without a key, nothing else answers.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from configs.errors import KeyRefused, KeysError
from serving.access.gate import refused
from serving.access.scopes import CONSOLE, ENTER, scopes_of
from serving.access.sessions import COOKIE, HOURS, opened
from serving.console.frame import HEADERS, back_to, language
from serving.console.page import Page, render
from serving.console.words import LANGUAGES, words
from serving.errors.problem import Problem, from_status

if TYPE_CHECKING:
    from serving.access.gate import Gate

__all__ = ["LEAVE", "door", "enter", "leave"]

LEAVE = f"{CONSOLE}/leave"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem;color:#1a1a1a;"
    "background:#fff}label,input,button{display:block;width:100%;box-sizing:border-box}input,button{font:inherit;"
    "padding:.5rem;margin:.3rem 0 .8rem;border:1px solid #767676;border-radius:4px}button{background:#1f4e79;"
    "color:#fff;border-color:#1f4e79}:focus-visible{outline:3px solid #c25700;outline-offset:2px}"
    "[role=alert]{border-left:4px solid #b00020;padding:.2rem .8rem}.other{color:#595959}"
)
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_log = logging.getLogger("bentoml.userops")


def door(request: Request, problem: Problem, back: str | None = None) -> Response:
    """The page that asks for a key, in both languages; ``back`` is where a right one leads."""
    lang = language(request)
    spoken = [words(one) for one in sorted(LANGUAGES, key=lambda one: one != lang)]
    fault = _fault(problem)
    values = {
        "spoken": spoken,
        "style": Markup(STYLE),
        "fault": fault,
        "action": ENTER,
        "back": back_to(request) if back is None else back,
        "hours": HOURS,
    }
    html = render(Page("enter.html", "userops", "", values, problem.status), lang, {})
    headers = {**HEADERS, **problem.headers, "content-security-policy": POLICY}
    return HTMLResponse(html, problem.status, headers)


def enter(request: Request, form: Mapping[str, str], back: str, gate: Gate) -> Response:
    """Answer ``POST /console/enter``: a session for the holder of a key that may read or sign, else the page again."""
    address = request.client.host if request.client else ""
    text = form.get("key", "")
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        # Another site may not let a reviewer in under a key of its own: here is the form to do it oneself.
        return door(request, from_status(401), back)
    try:
        if not gate.keys.any():
            return RedirectResponse(back, 303)
        try:
            key = gate.keys.find(text)
        except KeyRefused as error:
            refused(gate.keys, gate.guesses, error, text, address)
        if not set(scopes_of("GET", CONSOLE)) & set(key.scopes):
            return door(request, Problem(403, "insufficient-scope", "scope"), back)
    except Problem as problem:
        return door(request, problem, back)
    except KeysError as error:
        _log.error("nobody can be let in: %s", error)
        return door(request, Problem(503, "unavailable", "keys"), back)
    _log.info("console: a session begins with key %s", key.id)
    response = RedirectResponse(back, 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, opened(key), 3600 * HOURS, path="/", httponly=True, samesite="strict", secure=secure)
    return response


def leave() -> Response:
    """Answer ``POST /console/leave``: the browser forgets the session."""
    response = RedirectResponse(f"{CONSOLE}/models", 303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


def _fault(problem: Problem) -> str | None:
    """The word for what is wrong with the key; none before one was shown."""
    if problem.status == 401:
        return None if "error=" not in problem.headers.get("www-authenticate", "") else "wrong"
    return {403: "scope", 429: "often"}.get(problem.status, "unreadable")
