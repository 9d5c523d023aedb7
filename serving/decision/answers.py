"""What a decision answers: offers, the fallback, or silence, and why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from serving.decision.arbitration import Bid
from serving.decision.assignment import dice
from serving.decision.channels import channel_rates, rank_channels
from serving.decision.eligibility import condition, screen
from serving.decision.exploration import Slate, explore
from serving.decision.pipeline import Run
from serving.decision.result import Chosen, Decision, Fallback, Scored, Target

__all__ = ["answer", "held_out", "nobody", "silent"]


def answer(run: Run, bids: list[Bid]) -> Decision:
    """What is worth more than silence competes; the best, or the dice, win."""
    run.funnel["scored"] = len(bids)
    scored = tuple(Scored(bid.offer.offer_id, bid.p[0], bid.priority) for bid in bids)
    worthwhile = []
    for bid in bids:
        if bid.expected_value > run.how.min_expected_value and bid.priority > 0.0:
            worthwhile.append(bid)
        else:
            run.drops.add(bid.offer.offer_id, "arbitration", f"expected_value<={run.how.min_expected_value:g}")
    worthwhile.sort(key=lambda bid: (-bid.priority, bid.offer.offer_id))
    if not run.inputs.allow_duplicates:
        worthwhile = _distinct(run, worthwhile)
    run.funnel["worthwhile"] = len(worthwhile)
    if not worthwhile:
        return _decision(run, "suppressed", "LOW_EV", candidates=scored)
    slate = explore([bid.priority for bid in worthwhile], run.inputs.limit, run.explore, dice(run.seed))
    run.group["explored"] = slate.explored
    rates = channel_rates(run.inputs.response_counts, run.moment.usable)
    chosen = tuple(
        _chosen(run, worthwhile[place], rank, probability, rates)
        for rank, (place, probability) in enumerate(zip(slate.order, slate.probabilities, strict=True), start=1)
    )
    stale = "FEATURES_STALE" if run.inputs.features_stale else None
    return _decision(run, "decided", stale, chosen=chosen, candidates=scored, slate=slate)


def _distinct(run: Run, bids: list[Bid]) -> list[Bid]:
    """Only the best offer of each target."""
    best: dict[Target, Bid] = {}
    for bid in bids:
        first = best.setdefault(bid.target, bid)
        if first is not bid:
            run.drops.add(bid.offer.offer_id, "arbitration", f"duplicate_of:{first.offer.offer_id}")
    return list(best.values())


def _chosen(run: Run, bid: Bid, rank: int, probability: float, rates: Mapping[str, float]) -> Chosen:
    ends = [run.shelf.facts(item_id).get("valid_to_us") for item_id in bid.target.item_ids]
    until = min(run.inputs.at_us + run.policy.answer_ttl_us, bid.offer.valid_to_us, *(e for e in ends if e))
    return Chosen(
        offer_id=bid.offer.offer_id,
        rank=rank,
        p=bid.p[0],
        p_interval=(bid.p[1], bid.p[2]),
        propensity=bid.propensity,
        maturity=bid.maturity,
        components={
            "propensity": bid.own_p,
            "context_weight": bid.weight,
            "value": bid.value,
            "lever": bid.lever,
        },
        priority=bid.priority,
        expected_value=bid.expected_value,
        action_probability=probability,
        channel_priority=rank_channels(bid.offer, bid.p[0], run.moment, run.policy, rates),
        valid_until_us=until,
        target=bid.target,
        weights=bid.weights,
        levers=bid.levers,
        attributes=bid.offer.attributes,
    )


def nobody(run: Run, stage: str, rule: str, reason: str) -> Decision:
    """Silence towards a person who is not to be addressed here at all: no fallback either."""
    if run.inputs.candidates is not None:
        for one in run.inputs.candidates:
            run.drops.add(one["offer_id"], stage, rule)
        run.funnel["candidates"] = len(run.inputs.candidates)
    else:
        places = np.flatnonzero(run.catalogue.ranked)
        run.drops.add_all(len(places), run.catalogue.at(places), stage, rule)
        run.funnel["candidates"] = len(places)
    return _decision(run, "suppressed", reason)


def held_out(run: Run) -> Decision:
    """The control treatment: nothing, or the fallback that everybody could get."""
    control = _fallback(run) if run.policy.holdout.treatment == "fallback" else None
    return _decision(run, "holdout", "HOLDOUT", fallback=control)


def silent(run: Run, reason: str) -> Decision:
    """Nothing was decided: silence on a channel that reaches out by itself, elsewhere the fallback."""
    if run.moment.channel_of(run.policy).push:
        return _decision(run, "suppressed", reason)
    fallback = _fallback(run)
    return _decision(run, "suppressed" if fallback is None else "fallback", reason, fallback=fallback)


def _fallback(run: Run) -> Fallback | None:
    """The first fallback offer of the catalogue that may be shown here and that the person has not refused."""
    places, _ = screen(run.moment, run.catalogue, np.asarray(run.catalogue.fallbacks, dtype=np.int64))
    for place in places.tolist():
        offer = run.catalogue.offers[place]
        target, _ = run.shelf.target(offer)
        aimed = bool(offer.item_ids or offer.category_ids)
        empty = aimed and not (target.item_ids or target.category_ids)
        refused = offer.offer_id in run.inputs.not_interested
        if not empty and not refused and condition(offer, target, run.moment, run.shelf) is None:
            assert offer.fallback_rule is not None
            return Fallback(offer.offer_id, offer.fallback_rule)
    return None


def _decision(
    run: Run,
    status: str,
    reason: str | None,
    *,
    chosen: tuple[Chosen, ...] = (),
    fallback: Fallback | None = None,
    candidates: tuple[Scored, ...] = (),
    slate: Slate | None = None,
) -> Decision:
    mix = 0.0 if slate is None else slate.mix
    return Decision(
        status=status,
        status_reason=reason,
        group=run.group,
        chosen=chosen,
        fallback=fallback,
        funnel=run.funnel,
        dropped=run.drops.named,
        dropped_counts=run.drops.counts,
        candidates=candidates,
        objective=run.how.objective,
        exploration={**run.explore._asdict(), "mix": mix},
        usable_for_ope=mix > 0.0,
        seed=run.seed,
        notes=tuple(run.notes),
        items_read=run.shelf.items_read,
        categories_read=tuple(run.shelf.categories_read),
    )
