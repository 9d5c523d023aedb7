"""A decision made again: the same answer or where it departs, and what the release in force would have shown."""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from serving.console.asked import Asked
from serving.console.telling import status_said
from serving.errors.problem import Problem
from serving.log import DecisionRow
from serving.schemas_decision import ReplayRequest

if TYPE_CHECKING:
    from serving.live import Release

__all__ = ["again"]

LONGEST = 300


def again(asked: Asked, row: DecisionRow, current: Release | None) -> dict[str, Any]:
    """What deciding again by the release of then gives and, where another is in force, by that of now."""
    other = current is not None and current.bundle.release_id != row.release_id
    return {
        "same": _told(asked, row, ReplayRequest()),
        "now": _told(asked, row, ReplayRequest(release="current")) if other else None,
        "release": None if current is None else current.bundle.release_id,
    }


def _told(asked: Asked, row: DecisionRow, question: ReplayRequest) -> dict[str, Any]:
    try:
        told = asked.live.records.replay(row.decision_id, question)
    except Problem as problem:
        gone = problem.kind == "unknown-release" and question.release is None
        missing = asked.t("decision.missing_release", release=row.release_id)
        return {"problem": missing if gone else asked.t("decision.cannot", why=problem.detail)}
    was, now = _offers(json.loads(row.response)), _offers(told["decision"])
    status, why = status_said(asked.t, told["decision"]["status"], told["decision"]["status_reason"])
    return {
        "problem": "",
        "identical": told["identical"],
        "n": len(told["differences"]),
        "differences": [
            {"path": one["path"], "was": _shown(one["was"]), "now": _shown(one["now"])} for one in told["differences"]
        ],
        "unchanged": [one["offer_id"] for one in was] == [one["offer_id"] for one in now],
        "pairs": [
            {"rank": rank, "was": then, "now": today}
            for rank, (then, today) in enumerate(zip_longest(was, now), start=1)
        ],
        "why": f"{status}: {why}" if why else "" if told["decision"]["status"] == "decided" else status,
    }


def _offers(block: dict[str, Any]) -> list[dict[str, Any]]:
    found = [{name: one[name] for name in ("rank", "offer_id", "p", "priority")} for one in block["offers"]]
    if not found and block["fallback"] is not None:
        found = [{"rank": 1, "offer_id": block["fallback"]["offer_id"], "p": None, "priority": None}]
    return found


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
