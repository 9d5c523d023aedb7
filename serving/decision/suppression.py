"""Should this offer stay unsaid? Because the person refused it, or has just got what it offers."""

from __future__ import annotations

from typing import NamedTuple

from serving.decision.eligibility import Shelf
from serving.decision.moment import Moment
from serving.decision.offers import Offer
from serving.decision.policy import Suppression
from serving.decision.result import Target

__all__ = ["Kept", "Suppressor"]

DAY_US = 86_400_000_000


class Kept(NamedTuple):
    """What is left of a target, and the factor in [0, 1] by which a refused neighbour damps it; or the rule."""

    target: Target
    factor: float
    rule: str | None


class Suppressor:
    """The suppressions of one moment: refused things, their neighbours, satisfied needs."""

    def __init__(self, moment: Moment, rules: Suppression) -> None:
        refused = moment.inputs.not_interested
        since = moment.at_us - int(rules.not_interested_days * DAY_US)
        self._refused = {name for name, at_us in refused.items() if since <= at_us}
        self._damped, self._drop = moment.damped, rules.neighbour_drop
        self._satisfied = (
            {category: need for category, need in moment.needs.items() if need.satisfied}
            if rules.need_satisfied
            else {}
        )

    def keep(self, offer: Offer, target: Target, shelf: Shelf) -> Kept:
        """What of the target may be said; nothing left means: not this offer, by the first rule that took a part."""
        own = self._damped.get(offer.offer_id, 1.0)
        if offer.offer_id in self._refused:
            return Kept(target, 0.0, f"not_interested:{offer.offer_id}")
        if own <= self._drop and own < 1.0:
            return Kept(target, own, f"not_interested_neighbour:{offer.offer_id}:{own:.2f}")
        if not self._refused and not self._damped and (not self._satisfied or offer.ignore_need):
            return Kept(target, own, None)
        why: str | None = None
        factor = 0.0
        for item_id in target.item_ids:
            near = self._damped.get(item_id, 1.0)
            rule = self._of_item(item_id, near, offer, shelf)
            if rule is None:
                factor = max(factor, near)
            else:
                why = why or rule
                target = target._replace(item_ids=tuple(other for other in target.item_ids if other != item_id))
        for category in target.category_ids:
            rule = f"not_interested:{category}" if category in self._refused else self._of_need(category, offer)
            if rule is None:
                factor = 1.0
            else:
                why = why or rule
                left = tuple(other for other in target.category_ids if other != category)
                target = target._replace(category_ids=left)
        return Kept(target, factor * own, None if target.item_ids or target.category_ids else why)

    def _of_item(self, item_id: str, near: float, offer: Offer, shelf: Shelf) -> str | None:
        if item_id in self._refused:
            return f"not_interested:{item_id}"
        if near <= self._drop and near < 1.0:
            return f"not_interested_neighbour:{item_id}:{near:.2f}"
        category = shelf.category_of(item_id, offer)
        if category is None:
            return None
        if category in self._refused:
            return f"not_interested:{category}"
        return self._of_need(category, offer)

    def _of_need(self, category: str, offer: Offer) -> str | None:
        need = None if offer.ignore_need else self._satisfied.get(category)
        return None if need is None else f"need_satisfied:{category}:{need.days_since:.1f}d<{need.usual_days:.1f}d"
