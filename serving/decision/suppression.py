"""Should this offer stay unsaid? Because the person refused it, or has just got what it offers."""

from __future__ import annotations

from typing import NamedTuple

from serving.decision.eligibility import Shelf
from serving.decision.moment import Moment
from serving.decision.offers import Catalogue, Offer
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

    def __init__(self, moment: Moment, rules: Suppression, catalogue: Catalogue) -> None:
        refused = moment.inputs.not_interested
        since = moment.at_us - int(rules.not_interested_days * DAY_US)
        self._refused = {name for name, at_us in refused.items() if since <= at_us}
        # Another offer about just the same is the refused one under another name.
        same = [catalogue.offers[catalogue.place[name]] for name in self._refused if name in catalogue.place]
        self._same = {(one.item_ids, one.category_ids): one.offer_id for one in same} if moment.personal else {}
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
        if self._same and (other := self._same.get((offer.item_ids, offer.category_ids))) is not None:
            return Kept(target, 0.0, f"not_interested_neighbour:{other}")
        if self._gone(own):
            return Kept(target, own, f"not_interested_neighbour:{offer.offer_id}:{own:.2f}")
        if not self._refused and not self._damped and (not self._satisfied or offer.ignore_need):
            return Kept(target, own, None)
        why: str | None = None
        factor = 0.0
        for item_id in target.item_ids:
            near, category = self._damped.get(item_id, 1.0), shelf.category_of(item_id, offer)
            rule = self._of_item(item_id, near, category, offer)
            if rule is None:
                factor = max(factor, near if category is None else min(near, self._damped.get(category, 1.0)))
            else:
                why = why or rule
                target = target._replace(item_ids=tuple(other for other in target.item_ids if other != item_id))
        for category in target.category_ids:
            near = self._damped.get(category, 1.0)
            rule = self._of_category(category, near, offer)
            if rule is None:
                factor = max(factor, near)
            else:
                why = why or rule
                left = tuple(other for other in target.category_ids if other != category)
                target = target._replace(category_ids=left)
        return Kept(target, factor * own, None if target.item_ids or target.category_ids else why)

    def _of_item(self, item_id: str, near: float, category: str | None, offer: Offer) -> str | None:
        if item_id in self._refused:
            return f"not_interested:{item_id}"
        if self._gone(near):
            return f"not_interested_neighbour:{item_id}:{near:.2f}"
        return None if category is None else self._of_category(category, self._damped.get(category, 1.0), offer)

    def _gone(self, factor: float) -> bool:
        return factor <= self._drop and factor < 1.0

    def _of_category(self, category: str, near: float, offer: Offer) -> str | None:
        if category in self._refused:
            return f"not_interested:{category}"
        if self._gone(near):
            return f"not_interested_neighbour:{category}:{near:.2f}"
        need = None if offer.ignore_need else self._satisfied.get(category)
        return None if need is None else f"need_satisfied:{category}:{need.days_since:.1f}d<{need.usual_days:.1f}d"
