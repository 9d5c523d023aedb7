"""A decision as the contract's answer, and as the rows of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.batch import iso
from serving.decision.result import Chosen, Decision
from serving.log import ScoredCandidate, ShownOffer

__all__ = ["candidates_of", "decided_block", "offer_block", "shown"]


def offer_block(
    chosen: Chosen, reason_codes: Sequence[Mapping[str, Any]], explanation: Mapping[str, Any] | None
) -> dict[str, Any]:
    """One entry of ``offers``."""
    propensity = chosen.propensity
    return {
        "rank": chosen.rank,
        "offer_id": chosen.offer_id,
        "p": chosen.p,
        "p_interval": list(chosen.p_interval),
        "p_calibrated": propensity.calibrated,
        "maturity": chosen.maturity,
        "uplift": propensity.uplift,
        "components": dict(chosen.components),
        "weights": dict(chosen.weights),
        "levers": dict(chosen.levers),
        "priority": chosen.priority,
        "expected_value": chosen.expected_value,
        "action_probability": chosen.action_probability,
        "channel_priority": [{"channel": channel, "p_response": p} for channel, p in chosen.channel_priority],
        "valid_until": iso(chosen.valid_until_us),
        "reason_codes": list(reason_codes),
        "explanation": explanation,
    }


def decided_block(decision: Decision, level: str) -> dict[str, Any]:
    """What a decision says beside its offers: ``filtered`` by offer with ``level`` full, otherwise by rule."""
    if level == "full":
        filtered = [
            {"offer_id": one.offer_id, "stage": one.stage, "rule": one.rule, "count": one.events}
            for one in decision.dropped
        ]
    else:
        filtered = [
            {"offer_id": None, "stage": stage, "rule": rule, "count": offers}
            for stage, rule, offers in decision.dropped_counts
        ]
    fallback = decision.fallback
    return {
        "status": decision.status,
        "status_reason": decision.status_reason,
        "group": dict(decision.group),
        "fallback": None if fallback is None else {"offer_id": fallback.offer_id, "rule": fallback.rule},
        "filtered": filtered,
        "funnel": dict(decision.funnel),
        "objective": decision.objective,
        "exploration": {**decision.exploration, "usable_for_ope": decision.usable_for_ope},
        "notes": list(decision.notes),
    }


def shown(decision: Decision, channel: str | None, placement: str | None) -> tuple[ShownOffer, ...]:
    """The offers that the log counts as decided: those of the answer, or its fallback."""
    if decision.chosen:
        return tuple(
            ShownOffer(one.offer_id, one.rank, one.p, one.action_probability, one.priority, channel, placement)
            for one in decision.chosen
        )
    if decision.fallback is not None:
        return (ShownOffer(decision.fallback.offer_id, 1, channel=channel, placement=placement),)
    return ()


def candidates_of(decision: Decision) -> tuple[ScoredCandidate, ...]:
    """Every candidate that was scored."""
    return tuple(map(ScoredCandidate._make, decision.candidates))
