"""Find a user by id: the whole of it, or how it begins. What is typed here is kept nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from features import online
from serving.console.asked import Asked
from serving.console.lookup import ids_beginning
from serving.console.page import Page
from serving.console.people import head_words, is_id, of_hundred

__all__ = ["nobody", "page"]

MOST, EXAMPLES = 20, 6


def page(asked: Asked) -> Page | Response:
    """Answer ``GET /console/users?q=``: a whole id leads to its page, a beginning to the ids that begin so."""
    typed = asked.given.get("q", "").strip()
    if not typed:
        return _page(asked, "", "empty", _beginning(asked, "", EXAMPLES), 200)
    if not is_id(typed):
        return nobody(asked, typed, "refused")
    batch = asked.live.read([typed])
    if batch.found[0] or typed in batch.withheld:
        address = f"/console/user?{urlencode({'id': typed})}"
        return RedirectResponse(address, 303, {"cache-control": "no-store"})
    found = _beginning(asked, typed, MOST)
    return _page(asked, typed, "found", found, 200) if found else nobody(asked, typed, "unknown")


def nobody(asked: Asked, typed: str, kind: str, told: Mapping[str, Any] | None = None) -> Page:
    """The page that says that we know no such user (404), or that the text cannot be an id (400).

    ``told`` is what the API answers to it: for strangers, the base rates of everybody.
    """
    unknown = kind == "unknown"
    found = _beginning(asked, typed, MOST) if unknown else []
    return _page(asked, typed, kind, found, 404 if unknown else 400, _cold(asked, told) if told else [])


def _page(
    asked: Asked, typed: str, kind: str, found: list[str], status: int, cold: list[tuple[str, str, str]] | None = None
) -> Page:
    links = [(one, f"/console/user?{urlencode({'id': one})}") for one in found]
    # A wrong id may be a book: its beginning says enough.
    shown = typed if len(typed) <= 140 else f"{typed[:140]}…"
    values = {"typed": shown, "kind": kind, "found": links, "full": len(found) == MOST, "cold": cold or []}
    return Page("users.html", asked.t("users.title"), "users", values, status)


def _beginning(asked: Asked, start: str, most: int) -> list[str]:
    return ids_beginning(online.open_store(asked.live.config.online_uri), start, most)


def _cold(asked: Asked, told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What is answered for strangers: each question in words, its name, and the base rate in words."""
    cards = {
        name: asked.desk.read(name, block["model"]["version"], "card.json") for name, block in told["scores"].items()
    }
    return [
        (head_words(asked, cards[name], head), head, of_hundred(asked.t, score["p"]))
        for name, block in told["scores"].items()
        for head, score in block["scores"].items()
        if score.get("p") is not None
    ]
