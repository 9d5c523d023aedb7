"""Why not the others: candidates that were scored and lost, offers that a rule dropped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from serving.console.telling import rule_said
from serving.console.words import Words
from serving.decision.caps import Cap
from serving.log import DecisionRow
from serving.nbo.anatomy import Anatomy

__all__ = ["dropped", "lost"]

MOST_NAMED = 12
AFTER = "arbitration"  # the stage that drops what was scored already


def lost(
    t: Words, row: DecisionRow, parts: Anatomy | None, ranks: Mapping[str, int], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The candidates that were scored and not shown, the best first, and how far each was from being shown."""
    least = min((one.priority for one in row.candidates if one.offer_id in ranks), default=math.nan)
    worth = {} if parts is None else {bid.offer.offer_id: bid.expected_value for bid in parts.bids}
    rules = {} if parts is None else {one.offer_id: one for one in parts.decision.dropped if one.stage == AFTER}
    found = []
    for one in sorted(row.candidates, key=lambda one: (-one.priority, one.offer_id)):
        if one.offer_id in ranks:
            continue
        rule = rules.get(one.offer_id)
        if rule is not None:
            why = rule_said(t, rule.stage, rule.rule, names=names)
        else:
            key = "none" if not ranks else "dice" if one.priority > least else "behind"
            why = t(f"decision.lost.{key}")
        value = worth.get(one.offer_id)
        found.append(
            {
                "id": one.offer_id,
                "name": names.get(one.offer_id, ""),
                "p": one.p,
                "priority": one.priority,
                "expected_value": value if value is not None and math.isfinite(value) else None,
                "lacked": least - one.priority if ranks else None,
                "why": why,
                "code": None if rule is None else rule.rule,
            }
        )
    return found


def dropped(
    t: Words, response: Mapping[str, Any], parts: Anatomy | None, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The rules that dropped offers before they were scored, in the order of the stages, by name where these are known.

    What a rule dropped afterwards, in arbitration, is one of the candidates that `lost`: nothing is listed twice.
    """
    lines: list[tuple[str | None, str, str, int | None]]
    if parts is not None:
        lines = [(one.offer_id, one.stage, one.rule, one.events) for one in parts.decision.dropped]
        counts = {(stage, rule): n for stage, rule, n in parts.decision.dropped_counts if stage != AFTER}
    else:
        lines = [(one["offer_id"], one["stage"], one["rule"], one["count"]) for one in response["filtered"]]
        counts = {}
    groups: dict[tuple[str, str], list[tuple[str, int | None]]] = {}
    for offer_id, stage, rule, n in lines:
        if stage == AFTER:
            continue
        named = groups.setdefault((stage, rule), [])
        if offer_id is None:
            counts[stage, rule] = n or 0
        else:
            named.append((offer_id, n))
    return [
        {
            "stage": t.or_code("decision.stage", stage),
            "stage_code": stage,
            "rule": rule_said(t, stage, rule, _caps(parts, named), names),
            "rule_code": rule,
            "count": counts.get((stage, rule), len(named)),
            "offers": [{"id": one, "name": names.get(one, ""), "counted": n} for one, n in named[:MOST_NAMED]],
            "more": len(named) - MOST_NAMED,
        }
        for (stage, rule), named in groups.items()
    ]


def _caps(parts: Anatomy | None, named: list[tuple[str, int | None]]) -> dict[str, Cap]:
    """The caps, by name, that can have dropped these offers: their own, and those over all offers."""
    if parts is None or not named:
        return {}
    catalogue = parts.rules.catalogue
    place = catalogue.place.get(named[0][0])
    own = () if place is None else catalogue.offers[place].caps
    return {cap.name: cap for cap in (*parts.rules.policy.caps, *own)}
