"""One decision, as a pure function: the same inputs and the same release give the same answer, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from configs.errors import ObjectiveUnavailable
from serving.decision.arbitration import Arbiter, Bid
from serving.decision.assignment import dice, period_of, seed_of, share_of
from serving.decision.candidates import Drops, candidates
from serving.decision.caps import Counts
from serving.decision.channels import channel_rates, rank_channels
from serving.decision.eligibility import Shelf, condition, screen
from serving.decision.exploration import Explore, Slate, explore
from serving.decision.inputs import Inputs
from serving.decision.moment import Moment
from serving.decision.offers import Catalogue, Offer
from serving.decision.policy import OBJECTIVES, Arbitration, Policy
from serving.decision.result import Chosen, Decision, Fallback, Scored, Scorer, Target
from serving.decision.suppression import Suppressor

__all__ = ["decide", "fall_back"]


def decide(inputs: Inputs, policy: Policy, catalogue: Catalogue, score: Scorer) -> Decision:
    """What to show this user now, if anything.

    Raises
    ------
    ObjectiveUnavailable
        ``uplift_value`` was asked for and ``score`` has no uplift: the caller answers 422 on ``objective``.
    """
    run = _Run.of(inputs, policy, catalogue)
    if run.how.objective == "uplift_value" and not getattr(score, "uplift", False):
        raise ObjectiveUnavailable(
            "objective uplift_value needs an uplift model, and none is in force",
            got="uplift_value",
            expected=[name for name in OBJECTIVES if name != "uplift_value"],
            because="no experiment has yet shown what offers change",
        )
    gate = run.moment.gate(policy)
    if gate is not None:
        return run.nobody(*gate)
    if run.holdout:
        return run.held_out()
    left = run.survivors()
    if not left:
        return run.silent(run.reason)
    propensities = score([target for _, target, _ in left])
    if len(propensities) != len(left):
        raise ValueError(f"the scorer answered {len(propensities)} of {len(left)} targets")
    bids = [
        run.arbiter.bid(offer, target, factor, propensity)
        for (offer, target, factor), propensity in zip(left, propensities, strict=True)
    ]
    return run.answer(bids)


def fall_back(inputs: Inputs, policy: Policy, catalogue: Catalogue, reason: str) -> Decision:
    """What is shown without scoring anything: after TIMEOUT, MODEL_UNAVAILABLE, FEATURES_STALE."""
    run = _Run.of(inputs, policy, catalogue)
    gate = run.moment.gate(policy)
    if gate is not None:
        return run.nobody(*gate)
    return run.held_out() if run.holdout else run.silent(reason)


@dataclass
class _Run:
    """The state of one decision while it is made."""

    inputs: Inputs
    policy: Policy
    catalogue: Catalogue
    moment: Moment
    how: Arbitration
    explore: Explore
    group: dict[str, Any]
    holdout: bool
    drops: Drops
    shelf: Shelf
    counts: Counts
    arbiter: Arbiter
    seed: int
    notes: list[str]
    funnel: dict[str, int]
    reason: str = "NO_ELIGIBLE"

    @classmethod
    def of(cls, inputs: Inputs, policy: Policy, catalogue: Catalogue) -> _Run:
        """Groups drawn, nothing looked at yet."""
        moment = Moment.of(inputs, policy, policy.reads | catalogue.reads)
        how, experiment_id, variant = _variant(moment, policy)
        if inputs.objective is not None:
            how = how._replace(objective=inputs.objective)
        if how.objective not in OBJECTIVES:
            raise ObjectiveUnavailable("unknown objective", got=how.objective, expected=list(OBJECTIVES))
        notes = [
            note
            for note, holds in (
                ("PERSONALIZATION_OFF", not inputs.personalization),
                ("FEATURES_STALE", inputs.features_stale),
                ("STORE_UNKNOWN", moment.store is not None and inputs.store_items is None),
                ("CAPS_IGNORED", not inputs.respect_caps and not policy.caps_always),
            )
            if holds
        ]
        wanted = _wanted(how.explore, inputs.exploration, notes)
        rule = policy.holdout
        held = rule.share > 0.0 and (not rule.scenarios or moment.scenario in rule.scenarios)
        held = held and share_of(rule.salt, inputs.user_id, period_of(inputs.at_us, rule.period)) < rule.share
        counts = Counts(inputs.actions, inputs.global_counts, inputs.at_us, moment.placement)
        shelf = Shelf(moment)
        group = {"holdout": held, "experiment_id": experiment_id, "variant": variant, "explored": False}
        drops = Drops(detail=inputs.explain_level == "full", most=policy.most_dropped)
        arbiter = Arbiter(moment, policy, how, counts, shelf)
        funnel = dict.fromkeys(("candidates", "eligible", "after_suppression", "after_caps", "scored", "worthwhile"), 0)
        seed = seed_of(inputs.decision_id)
        return cls(
            inputs,
            policy,
            catalogue,
            moment,
            how,
            wanted,
            group,
            held,
            drops,
            shelf,
            counts,
            arbiter,
            seed,
            notes,
            funnel,
        )

    def survivors(self) -> list[tuple[Offer, Target, float]]:
        """The offers to be scored, what is left of their targets, how far each is damped."""
        moment, policy, shelf, drops = self.moment, self.policy, self.shelf, self.drops
        source = self.inputs.candidate_source or {}
        most = min(int(source.get("max") or policy.max_candidates), policy.max_candidates)
        total, passed, offers = candidates(moment, self.catalogue, most, drops)
        suppressor = Suppressor(moment, policy.suppression)
        capped = self.inputs.respect_caps or policy.caps_always
        pressed = self.counts.pressed(policy.caps) if capped else None
        money = self.how.objective != "conversion"
        left: list[tuple[Offer, Target, float]] = []
        eligible = unsuppressed = 0
        for looked_at, offer in enumerate(offers):
            if len(left) == most and self.inputs.candidates is None:
                drops.add_all(passed - looked_at, chain((offer,), offers), "generation", f"beyond_max:{most}")
                break
            target, rule = shelf.target(offer)
            if target.item_ids or target.category_ids:
                rule = condition(offer, target, moment, shelf) or ""
                if not rule and money and offer.value is None and self.arbiter.worth(offer, target) is None:
                    rule = "no_value"
            if rule:
                drops.add(offer.offer_id, "eligibility", rule)
                continue
            eligible += 1
            kept = suppressor.keep(offer, target, shelf)
            if kept.rule is not None:
                drops.add(offer.offer_id, "suppression", kept.rule)
                continue
            unsuppressed += 1
            hit = (self.counts.hit(offer.offer_id, offer.caps) or pressed) if capped else None
            if hit is not None:
                drops.add(offer.offer_id, "cap", *hit)
                continue
            left.append((offer, kept.target, kept.factor))
        self.reason = "CAPPED" if unsuppressed else "ALL_SUPPRESSED" if eligible else "NO_ELIGIBLE"
        self.funnel |= {"candidates": total, "eligible": eligible, "after_suppression": unsuppressed}
        self.funnel["after_caps"] = len(left)
        return left

    def answer(self, bids: list[Bid]) -> Decision:
        """What is worth more than silence competes; the best, or the dice, win."""
        self.funnel["scored"] = len(bids)
        scored = tuple(Scored(bid.offer.offer_id, bid.p, bid.priority) for bid in bids)
        worthwhile = []
        for bid in bids:
            if bid.expected_value > self.how.min_expected_value and bid.priority > 0.0:
                worthwhile.append(bid)
            else:
                self.drops.add(bid.offer.offer_id, "arbitration", f"expected_value<={self.how.min_expected_value:g}")
        worthwhile.sort(key=lambda bid: (-bid.priority, bid.offer.offer_id))
        if not self.inputs.allow_duplicates:
            worthwhile = self._distinct(worthwhile)
        self.funnel["worthwhile"] = len(worthwhile)
        if not worthwhile:
            return self._decision("suppressed", "LOW_EV", candidates=scored)
        slate = explore([bid.priority for bid in worthwhile], self.inputs.limit, self.explore, dice(self.seed))
        self.group["explored"] = slate.explored
        rates = channel_rates(self.inputs.response_counts, self.moment.usable)
        chosen = tuple(
            self._chosen(worthwhile[place], rank, probability, rates)
            for rank, (place, probability) in enumerate(zip(slate.order, slate.probabilities, strict=True), start=1)
        )
        stale = "FEATURES_STALE" if self.inputs.features_stale else None
        return self._decision("decided", stale, chosen=chosen, candidates=scored, slate=slate)

    def _distinct(self, bids: list[Bid]) -> list[Bid]:
        """Only the best offer of each target."""
        best: dict[Target, Bid] = {}
        for bid in bids:
            first = best.setdefault(bid.target, bid)
            if first is not bid:
                self.drops.add(bid.offer.offer_id, "arbitration", f"duplicate_of:{first.offer.offer_id}")
        return list(best.values())

    def _chosen(self, bid: Bid, rank: int, probability: float, rates: Mapping[str, float]) -> Chosen:
        ends = [self.shelf.facts(item_id).get("valid_to_us") for item_id in bid.target.item_ids]
        until = min(self.inputs.at_us + self.policy.answer_ttl_us, bid.offer.valid_to_us, *(e for e in ends if e))
        p = bid.propensity.p
        return Chosen(
            offer_id=bid.offer.offer_id,
            rank=rank,
            propensity=bid.propensity,
            maturity=bid.maturity,
            components={
                "propensity": bid.p,
                "context_weight": bid.weight,
                "value": bid.value,
                "lever": bid.lever,
            },
            priority=bid.priority,
            expected_value=bid.expected_value,
            action_probability=probability,
            channel_priority=rank_channels(bid.offer, p, self.moment, self.policy, rates),
            valid_until_us=until,
            target=bid.target,
            weights=bid.weights,
            levers=bid.levers,
            attributes=bid.offer.attributes,
        )

    def nobody(self, stage: str, rule: str, reason: str) -> Decision:
        """Silence towards a person who is not to be addressed here at all: no fallback either."""
        if self.inputs.candidates is not None:
            for one in self.inputs.candidates:
                self.drops.add(one["offer_id"], stage, rule)
            self.funnel["candidates"] = len(self.inputs.candidates)
        else:
            places = np.flatnonzero(self.catalogue.ranked)
            self.drops.add_all(len(places), self.catalogue.at(places), stage, rule)
            self.funnel["candidates"] = len(places)
        return self._decision("suppressed", reason)

    def held_out(self) -> Decision:
        """The control treatment: nothing, or the fallback that everybody could get."""
        control = self._fallback() if self.policy.holdout.treatment == "fallback" else None
        return self._decision("holdout", "HOLDOUT", fallback=control)

    def silent(self, reason: str) -> Decision:
        """Nothing was decided: silence on a channel that reaches out by itself, elsewhere the fallback."""
        if self.moment.channel_of(self.policy).push:
            return self._decision("suppressed", reason)
        fallback = self._fallback()
        return self._decision("suppressed" if fallback is None else "fallback", reason, fallback=fallback)

    def _fallback(self) -> Fallback | None:
        """The first fallback offer of the catalogue that may be shown here and that the person has not refused."""
        places, _ = screen(self.moment, self.catalogue, np.asarray(self.catalogue.fallbacks, dtype=np.int64))
        for place in places.tolist():
            offer = self.catalogue.offers[place]
            target, _ = self.shelf.target(offer)
            aimed = bool(offer.item_ids or offer.category_ids)
            empty = aimed and not (target.item_ids or target.category_ids)
            refused = offer.offer_id in self.inputs.not_interested
            if not empty and not refused and condition(offer, target, self.moment, self.shelf) is None:
                assert offer.fallback_rule is not None
                return Fallback(offer.offer_id, offer.fallback_rule)
        return None

    def _decision(
        self,
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
            group=self.group,
            chosen=chosen,
            fallback=fallback,
            funnel=self.funnel,
            dropped=self.drops.named,
            dropped_counts=self.drops.counts,
            candidates=candidates,
            objective=self.how.objective,
            exploration={**self.explore._asdict(), "mix": mix},
            usable_for_ope=mix > 0.0,
            seed=self.seed,
            notes=tuple(self.notes),
            items_read=tuple(self.shelf.items_read),
            categories_read=tuple(self.shelf.categories_read),
        )


def _variant(moment: Moment, policy: Policy) -> tuple[Arbitration, str | None, str | None]:
    """The first experiment of the scenario that has the user in one of its variants."""
    for experiment in policy.experiments:
        if experiment.scenarios and moment.scenario not in experiment.scenarios:
            continue
        point = share_of(experiment.experiment_id, moment.inputs.user_id)
        for name, share, arbitration in experiment.variants:
            if point < share:
                return arbitration, experiment.experiment_id, name
            point -= share
    return policy.arbitration, None, None


def _wanted(default: Explore, asked: Mapping[str, Any] | None, notes: list[str]) -> Explore:
    """The exploration asked for, within what the policy allows."""
    if not asked:
        return default
    changed = {
        name: asked[name]
        for name in ("mode", "epsilon", "temperature", "top_k", "floor")
        if asked.get(name) is not None
    }
    epsilon = changed.get("epsilon")
    if epsilon is not None and epsilon > default.most_mix:
        changed["epsilon"] = default.most_mix
        notes.append("EPSILON_CLAMPED")
    if "top_k" in changed:
        changed["top_k"] = min(max(int(changed["top_k"]), 1), 8)
    if "temperature" in changed:
        changed["temperature"] = max(float(changed["temperature"]), 1e-3)
    return default._replace(**changed)
