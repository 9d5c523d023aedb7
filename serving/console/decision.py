"""The page of one decision: what was shown, why this one, why not the others, what came of it, and decided again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from serving.console import charts_decision as charts
from serving.console.again import again
from serving.console.asked import Asked
from serving.console.page import Page
from serving.console.rivals import dropped, lost
from serving.console.telling import instant_of, lasting, status_said
from serving.console.why import why
from serving.errors.problem import Problem
from serving.log import DecisionRow, Received
from serving.nbo.anatomy import Anatomy, names_of, take_apart
from serving.reasons import closed_up

__all__ = ["page"]


def page(asked: Asked) -> Page:
    """``GET /console/decision?id=&replay=1&rank=``: as recorded; ``replay`` decides again, if need be by loading."""
    live, t, decision_id = asked.live, asked.t, asked.need("id")
    records = live.records
    record = records.record(decision_id)
    row = records.row(decision_id)
    with live.logging():
        events = live.log().feedback_of(decision_id)
    response, inputs = record["response"], record["inputs"]
    replaying = asked.given.get("replay") == "1"
    current = live.pickup.live
    in_force = current is not None and current.bundle.release_id == row.release_id
    parts, trouble = _apart(asked, row) if in_force or replaying else (None, "")
    release = parts.release if parts else current
    names = {} if release is None else names_of(release, asked.lang)
    offers = [{**one, "name": names.get(one["offer_id"], "")} for one in response["offers"]]
    ranks = {one["offer_id"]: one["rank"] for one in offers}
    rank = asked.given.get("rank", "")
    chosen = next((one for one in offers if str(one["rank"]) == rank), offers[0] if offers else None)
    age = response["features"]["max_age_s"]
    status, reason = status_said(t, row.status, row.status_reason)
    priced = {one.offer_id: one.priority for one in row.candidates}
    filtered = dropped(t, response, parts, names)
    return Page(
        "decision.html",
        t("decision.title", user=row.user_id),
        "decisions",
        {
            "id": decision_id,
            "row": row,
            "names": names,
            "record": record,
            "response": response,
            "context": _context(asked, inputs["context"]),
            "attributes": inputs["context"].get("attributes") or {},
            "inputs": inputs,
            "at": instant_of(row.decided_at_us),
            "status": status,
            "reason": reason,
            "lead": _lead(asked, row, response, names, reason),
            "notes": [t.or_code("decision.note", note) for note in response.get("notes", [])],
            "policy": response["policy_version"],
            "in_force": in_force,
            "trouble": trouble,
            "apart": parts is not None,
            "cards": _cards(response, parts),
            "offers": offers,
            "fallback": _named(response["fallback"], names),
            "chosen": chosen,
            "why": None if chosen is None else why(asked, chosen, parts),
            "lost": lost(t, row, parts, ranks, names),
            "dropped": filtered,
            "dropped_n": sum(one["count"] for one in filtered),
            "priorities": charts.candidates(t, priced, ranks, names) if priced else None,
            "priorities_height": charts.height(min(len(priced), charts.MOST_BARS)),
            "funnel": charts.funnel(t, response["funnel"], len(offers)),
            "exploration": response["exploration"],
            "feedback": [_event(asked, one, row, names) for one in events],
            "replay": again(asked, row, current) if replaying else None,
            "timing": response["timing_ms"],
            "scores": _scores(asked, inputs["scores"], _cards(response, parts)),
            "age": None if age is None else lasting(t, int(age) * 1_000_000),
            "json": to_json(record, indent=1, inf_nan_mode="null").decode(),
        },
    )


def _apart(asked: Asked, row: DecisionRow) -> tuple[Anatomy | None, str]:
    """The decision taken apart; or a sentence that says why it cannot be: no release, or other numbers come out."""
    t, records = asked.t, asked.live.records
    missing = t("decision.missing_release", release=row.release_id)
    try:
        release = records.release_of(row)
    except Problem as problem:
        gone = problem.kind == "unknown-release"
        return None, missing if gone else t("decision.cannot", why=problem.detail)
    rules = release.rules
    if rules is None or rules.policy.digest != row.policy_digest:
        return None, missing
    parts = take_apart(row, release, rules)
    return (parts, "") if parts.agrees else (None, t("decision.other_numbers"))


def _lead(asked: Asked, row: DecisionRow, response: dict[str, Any], names: Mapping[str, str], reason: str) -> str:
    """The decision in one sentence."""
    t, offers, fallback = asked.t, response["offers"], response["fallback"]
    if offers:
        first = offers[0]["offer_id"]
        key = "decision.lead_explored" if response["group"]["explored"] else "decision.lead_decided"
        counts = {name: response["funnel"][name] for name in ("scored", "candidates")}
        return closed_up(t(key, offer=names.get(first) or first, **counts))
    if fallback is not None:
        return t("decision.lead_fallback", offer=names.get(fallback["offer_id"]) or fallback["offer_id"], why=reason)
    return t("decision.lead_silent", why=reason)


def _cards(response: dict[str, Any], parts: Anatomy | None) -> list[dict[str, str]]:
    """The versions that decided: the interest model by the answer, the others as far as their release is at hand."""
    found = []
    if response["model"] is not None:
        found.append({"model": response["model"]["name"], "version": str(response["model"]["version"])})
    if parts is not None:
        for name, served in parts.release.models.items():
            found.append({"model": name, "version": str(served.model.version)})
    return found


def _context(asked: Asked, context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Channel, placement, scenario, store, device and locale, as far as they were named."""
    t = asked.t
    return [(t.or_code("decision.context", name), str(value)) for name, value in context.items()
            if value and name != "attributes"]  # fmt: skip


def _scores(
    asked: Asked, scores: Mapping[str, float | None], cards: list[dict[str, str]]
) -> list[tuple[str, str, float]]:
    """Every score of the user that was known, in words as far as the desk has a card of the version that gave it."""
    meanings: dict[str, str] = {}
    for card in cards:
        content = asked.desk.read(card["model"], card["version"], "card.json") or {}
        meanings |= {head: asked.t.of(one.get("meaning")) for head, one in content.get("heads", {}).items()}
    return [(meanings.get(name, ""), name, value) for name, value in scores.items() if value is not None]


def _named(fallback: dict[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any] | None:
    return None if fallback is None else {**fallback, "name": names.get(fallback["offer_id"], "")}


def _event(asked: Asked, one: Received, row: DecisionRow, names: Mapping[str, str]) -> dict[str, Any]:
    details = {name: value for name, value in (("value", one.value), ("", one.currency)) if value is not None}
    told = [" ".join(str(value) for value in details.values())] if details else []
    told += [f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
             for name, value in one.attributes.items()]  # fmt: skip
    return {
        "what": asked.t.or_code("decision.event", one.type),
        "code": one.type,
        "offer": names.get(one.offer_id or "") or one.offer_id,
        "rank": one.rank,
        "at": instant_of(one.at_us),
        "after": lasting(asked.t, one.at_us - row.decided_at_us),
        "received": instant_of(one.received_at_us),
        "late": one.late,
        "channel": one.channel,
        "told": told,
    }
