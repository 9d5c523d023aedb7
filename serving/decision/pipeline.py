"""The stages of one decision before anything is scored: who is asked about, which offers are left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from configs.errors import ObjectiveUnavailable
from serving.decision.arbitration import Arbiter
from serving.decision.assignment import period_of, seed_of, share_of
from serving.decision.candidates import Drops, candidates
from serving.decision.caps import Counts
from serving.decision.eligibility import Shelf, condition
from serving.decision.exploration import MOST_TOP_K, Explore
from serving.decision.inputs import Inputs
from serving.decision.moment import Moment
from serving.decision.offers import Catalogue, Offer
from serving.decision.policy import OBJECTIVES, Arbitration, Policy
from serving.decision.result import Target
from serving.decision.suppression import Suppressor

__all__ = ["Run"]


@dataclass
class Run:
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
    def of(cls, inputs: Inputs, policy: Policy, catalogue: Catalogue) -> Run:
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
        most = max(1, min(int(source.get("max") or policy.max_candidates), policy.max_candidates))
        total, passed, offers = candidates(moment, self.catalogue, most, drops)
        suppressor = Suppressor(moment, policy.suppression, self.catalogue)
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
    """The exploration asked for, within what the policy allows; ``ValueError`` for an unknown mode."""
    if not asked:
        return default
    changed = {
        name: asked[name]
        for name in ("mode", "epsilon", "temperature", "top_k", "floor")
        if asked.get(name) is not None
    }
    if changed.get("mode", "epsilon") not in ("epsilon", "softmax"):
        raise ValueError(f"unknown exploration mode {changed['mode']!r}")
    if "epsilon" in changed:
        if changed["epsilon"] > default.most_mix:
            notes.append("EPSILON_CLAMPED")
        changed["epsilon"] = min(max(float(changed["epsilon"]), 0.0), default.most_mix)
    if "floor" in changed:
        changed["floor"] = max(float(changed["floor"]), 0.0)
    if "top_k" in changed:
        changed["top_k"] = min(max(int(changed["top_k"]), 1), MOST_TOP_K)
    if "temperature" in changed:
        changed["temperature"] = max(float(changed["temperature"]), 1e-3)
    return default._replace(**changed)
