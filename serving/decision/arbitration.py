"""What each candidate is worth here, in one number, and whether that is more than silence.

``priority = propensity**alpha * context_weight * value * lever``, where ``context_weight`` and ``lever`` are
``1 + (sum of percents) / 100`` clamped to the policy's ranges; ``propensity`` and ``value`` depend on the objective:

================  =====================  =======================================  ==================================
objective         propensity             value                                    expected value
================  =====================  =======================================  ==================================
expected_value    smoothed p             value * margin - cost                    p * value component - contact cost
uplift_value      1                      uplift * value * margin - cost           value component - contact cost
conversion        smoothed p             1                                        not asked for
sell_through      smoothed p             1 if the item is slow-moving, else       p * (value * margin - cost)
                                         ``sell_through_other``                   - contact cost
================  =====================  =======================================  ==================================

A candidate whose expected value is not above ``min_expected_value`` is dropped: silence is worth more. The contact cost
is the channel's, plus ``fatigue.cost_each`` for every recent contact. A young propensity (n observations) is smoothed,
``(n0 * p0 + n * p) / (n0 + n)``, towards the offer's ``prior_p`` or the policy's ``p0``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from serving.decision.caps import Counts
from serving.decision.eligibility import Shelf, offer_facts
from serving.decision.moment import Moment
from serving.decision.offers import Offer
from serving.decision.policy import Arbitration, Policy, Weight
from serving.decision.result import Propensity, Target

__all__ = ["Arbiter", "Bid"]


class Bid(NamedTuple):
    """One scored candidate: the parts of its priority, and what it is worth.

    ``p`` is the smoothed propensity with its interval, ``own_p`` the factor of the priority (see above).
    """

    offer: Offer
    target: Target
    propensity: Propensity
    maturity: str
    p: tuple[float, float, float]
    own_p: float
    weight: float
    value: float
    lever: float
    priority: float
    expected_value: float
    weights: Mapping[str, float]
    levers: Mapping[str, float]


class Arbiter:
    """Turns propensities into priorities at one moment."""

    def __init__(self, moment: Moment, policy: Policy, how: Arbitration, counts: Counts, shelf: Shelf) -> None:
        self._how, self._policy, self._shelf, self._moment = how, policy, shelf, moment
        rules = policy.suppression
        contacts = counts.recent(rules.fatigue_event, rules.fatigue_days) if rules.fatigue_cost else 0
        self.contact_cost = moment.channel_of(policy).contact_cost + contacts * rules.fatigue_cost
        self._everywhere: dict[str, float] = {}
        self._here: list[Weight] = []
        for weight in policy.weights:
            if _holds(weight, moment):
                if weight.categories or weight.items or (weight.when is not None and not weight.when.narrow):
                    self._here.append(weight)
                else:
                    self._everywhere[weight.name] = weight.weight
        self._weight = _one_plus(self._everywhere, how.weight_range)

    def worth(self, offer: Offer, target: Target) -> float | None:
        """The money that the offer brings if accepted: its value, or the price of the first item with one, or None."""
        if offer.value is not None:
            return offer.value
        prices = (self._shelf.facts(item_id).get("price") for item_id in target.item_ids)
        return next((price for price in prices if price is not None and price >= 0.0), None)

    def bid(self, offer: Offer, target: Target, factor: float, propensity: Propensity) -> Bid:
        """The candidate's priority; ``factor`` is how far a refused neighbour damps it."""
        how, policy = self._how, self._policy
        smoothed, maturity = self._smoothed(offer, propensity)
        p = smoothed[0]
        worth = self.worth(offer, target) if offer.value is None else offer.value
        facts = [self._shelf.facts(item_id) for item_id in target.item_ids]
        money = 0.0 if worth is None else worth * self.margin(offer, facts) - offer.cost
        slow = True in [bool(one.get("is_slow_moving")) for one in facts]
        own_p = p
        if how.objective == "expected_value":
            value = money
            expected = p * money - self.contact_cost
        elif how.objective == "uplift_value":
            assert propensity.uplift is not None
            value = 0.0 if worth is None else propensity.uplift * worth * self.margin(offer, facts) - offer.cost
            expected, own_p = value - self.contact_cost, 1.0
        elif how.objective == "conversion":
            value, expected = 1.0, math.inf
        else:
            value = 1.0 if slow else how.sell_through_other
            expected = p * money - self.contact_cost
        weights = self._weights(offer, target, factor)
        levers = offer.levers
        if slow and policy.slow_moving and "slow_moving" not in levers:
            levers = {**levers, "slow_moving": policy.slow_moving}
        weight = self._weight if weights is self._everywhere else _one_plus(weights, how.weight_range)
        lever = _one_plus(levers, how.lever_range)
        priority = own_p**how.alpha * weight * value * lever
        if not math.isfinite(priority):
            priority, expected = 0.0, -math.inf
        return Bid(
            offer,
            target,
            propensity,
            maturity,
            smoothed,
            own_p,
            weight,
            value,
            lever,
            priority,
            expected,
            weights,
            levers,
        )

    def _smoothed(self, offer: Offer, propensity: Propensity) -> tuple[tuple[float, float, float], str]:
        """The propensity and its interval, each drawn towards the prior alike; it contains p. And how mature it is."""
        p0, n0, mature_n = self._policy.smoothing
        n = propensity.n
        p, low, high = propensity[:3]
        if n is None or n >= mature_n:
            return (p, low if low < p else p, high if high > p else p), "mature"
        prior = p0 if offer.prior_p is None else offer.prior_p
        p, low, high = ((n0 * prior + n * one) / (n0 + n) if n0 + n > 0.0 else prior for one in (p, low, high))
        return (p, min(low, p), max(high, p)), "young" if n > 0.0 else "prior"

    def margin(self, offer: Offer, facts: list[Mapping[str, float]]) -> float:
        """The share of the value that is kept: the offer's, else the mean of its items, else the policy's."""
        if offer.margin is not None:
            return offer.margin
        known = [one["margin"] for one in facts if one.get("margin") is not None]
        return sum(known) / len(known) if known else self._policy.default_margin

    def _weights(self, offer: Offer, target: Target, factor: float) -> Mapping[str, float]:
        weights = self._everywhere
        if factor < 1.0:
            weights = {**weights, "not_interested_neighbour": (factor - 1.0) * 100.0}
        for weight in self._here:
            if self._about(weight, offer, target):
                weights = {**weights, weight.name: weight.weight}
        return weights

    def _about(self, weight: Weight, offer: Offer, target: Target) -> bool:
        """Whether a weight on items, categories or an expression holds for this offer."""
        if weight.items and not weight.items.intersection(target.item_ids):
            return False
        if weight.categories:
            own = (self._shelf.category_of(item_id, offer) for item_id in target.item_ids)
            if weight.categories.isdisjoint(target.category_ids) and weight.categories.isdisjoint(own):
                return False
        if weight.when is None or weight.when.narrow:
            return True
        item = {"item_id": target.item_ids[0], **self._shelf.facts(target.item_ids[0])} if target.item_ids else {}
        return weight.when.refusal(self._moment.facts.about(offer_facts(offer), item)) is None


def _holds(weight: Weight, moment: Moment) -> bool:
    """Whether the conditions of a weight that concern no offer hold; an unknown value meets no condition."""
    asked = (
        (weight.channels, moment.channel),
        (weight.scenarios, moment.scenario),
        (weight.stores, moment.store),
        (weight.lifecycle_states, moment.state),
        (weight.value_tiers, moment.tier),
    )
    if any(wanted and value not in wanted for wanted, value in asked):
        return False
    return weight.when is None or not weight.when.narrow or weight.when.refusal(moment.facts.moment()) is None


def _one_plus(percents: Mapping[str, float], bounds: tuple[float, float]) -> float:
    if not percents:  # the ranges hold 1
        return 1.0
    return min(max(1.0 + sum(percents.values()) / 100.0, bounds[0]), bounds[1])
