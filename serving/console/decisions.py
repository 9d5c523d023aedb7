"""The page of decisions: the newest first, of all users or of one, page by page."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from serving.console.asked import Asked
from serving.console.page import Page
from serving.console.telling import instant_of, status_said
from serving.console.words import Words
from serving.errors.problem import Problem, shown
from serving.log import Listed, Place
from serving.nbo.anatomy import names_of

__all__ = ["page"]

AT_ONCE = 50
_PLACE = re.compile(r"(-?\d{1,18})~(.{1,256})", re.DOTALL)


def page(asked: Asked) -> Page:
    """``GET /console/decisions?user=&before=``; ``before`` is a place as the link to older ones names it."""
    t, user_id = asked.t, asked.given.get("user", "").strip()
    before = _place(t, asked.given.get("before", ""))
    log = asked.live.log()
    with asked.live.logging():
        found = log.listed(user_id or None, before, AT_ONCE + 1)
    lines = found[:AT_ONCE]
    title = t("decisions.title_of", user=user_id) if user_id else t("decisions.title")
    here = {"user": user_id} if user_id else {}
    current = asked.live.pickup.live
    last = lines[-1].place if len(found) > AT_ONCE else None
    return Page(
        "decisions.html",
        title,
        "decisions",
        {
            "user_id": user_id,
            "lines": [_line(asked, one) for one in lines],
            "names": {} if current is None else names_of(current, asked.lang),
            "later": before is not None,
            "newest": _address(here),
            "older": None if last is None else _address({**here, "before": f"{last.decided_at_us}~{last.decision_id}"}),
        },
    )


def _line(asked: Asked, one: Listed) -> dict[str, Any]:
    status, why = status_said(asked.t, one.status, one.status_reason)
    return {
        "id": one.decision_id,
        "user_id": one.user_id,
        "at": instant_of(one.decided_at_us),
        "code": one.status,
        "status": status,
        "why": why,
        "offers": one.offer_ids,
        "where": " · ".join(name for name in (one.channel, one.placement) if name),
        "release": one.release_id,
    }


def _place(t: Words, text: str) -> Place | None:
    if not text:
        return None
    found = _PLACE.fullmatch(text)
    if found is None:
        what = t("decisions.bad_place")
        raise Problem(400, "invalid-request", what, field="before", expected="a link of the list", got=shown(text))
    return Place(int(found[1]), found[2])


def _address(parts: dict[str, str]) -> str:
    return "/console/decisions" + (f"?{urlencode(parts)}" if parts else "")
