"""Which offers compete: those of the request, or those of the catalogue that its columns allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np

from serving.decision.eligibility import screen
from serving.decision.moment import Moment
from serving.decision.offers import Catalogue, Offer
from serving.decision.result import Dropped

__all__ = ["Drops", "candidates"]


class Drops:
    """What was dropped: always counted per rule, named one by one if ``detail``, at most ``most`` of them."""

    def __init__(self, *, detail: bool, most: int) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._named: list[Dropped] = []
        self._room = most if detail else 0

    def add(self, offer_id: str, stage: str, rule: str, events: int | None = None) -> None:
        """One offer."""
        self._counts[stage, rule] = self._counts.get((stage, rule), 0) + 1
        if len(self._named) < self._room:
            self._named.append(Dropped(offer_id, stage, rule, events))

    def add_all(self, n: int, offers: Iterable[Offer], stage: str, rule: str) -> None:
        """``n`` offers under one rule; no more of them are taken than there is room to name."""
        if n:
            self._counts[stage, rule] = self._counts.get((stage, rule), 0) + n
            room = max(self._room - len(self._named), 0)
            self._named += [Dropped(offer.offer_id, stage, rule) for offer in islice(offers, room)]

    @property
    def named(self) -> tuple[Dropped, ...]:
        """One by one, in the order of the stages."""
        return tuple(self._named)

    @property
    def counts(self) -> tuple[tuple[str, str, int], ...]:
        """(stage, rule, offers)."""
        return tuple((stage, rule, n) for (stage, rule), n in self._counts.items())


def candidates(moment: Moment, catalogue: Catalogue, most: int, drops: Drops) -> tuple[int, int, Iterator[Offer]]:
    """How many compete, how many the column conditions leave, and these in the order in which to look at them."""
    asked = moment.inputs.candidates
    if asked is None:
        return _of_catalogue(moment, catalogue, most, drops)
    offers = list(_of_request(moment, catalogue, asked, drops))
    return len(asked), len(offers), iter(offers)


def _of_catalogue(moment: Moment, catalogue: Catalogue, most: int, drops: Drops) -> tuple[int, int, Iterator[Offer]]:
    collection = (moment.inputs.candidate_source or {}).get("collection")
    mask = catalogue.ranked
    if collection is not None:
        mask = mask & catalogue.collections.naming(collection)
    places = np.flatnonzero(mask)
    total = len(places)
    places, dropped = screen(moment, catalogue, places)
    for rule, of_rule in dropped:
        drops.add_all(len(of_rule), catalogue.at(of_rule), "eligibility", rule)
    if len(places) <= most:
        return total, len(places), catalogue.at(places)
    parts = catalogue.rough_order(places, moment.interests, 2 * most, duplicates=moment.inputs.allow_duplicates)
    return total, len(places), chain.from_iterable(map(catalogue.at, parts))


def _of_request(moment: Moment, catalogue: Catalogue, asked: list[dict[str, Any]], drops: Drops) -> Iterator[Offer]:
    """Known offers as the catalogue has them, but for what the request says; unknown ones as the request has them."""
    places = [catalogue.place.get(one["offer_id"]) for one in asked]
    known = np.asarray([place for place in places if place is not None], dtype=np.int64)
    _, dropped = screen(moment, catalogue, known)
    rules = {place: rule for rule, of_rule in dropped for place in of_rule.tolist()}
    seen = set()
    for one, place in zip(asked, places, strict=True):
        offer_id = one["offer_id"]
        if offer_id in seen:
            drops.add(offer_id, "eligibility", "duplicate_offer_id")
        elif place in rules:
            drops.add(offer_id, "eligibility", rules[place])
        else:
            yield _asked(one, _UNKNOWN if place is None else catalogue.offers[place])
        seen.add(offer_id)


_UNKNOWN = Offer("")


def _asked(one: Mapping[str, Any], offer: Offer) -> Offer:
    """What the request says over what the catalogue says."""
    attributes, levers = one.get("attributes"), one.get("levers")
    value, margin, cost = one.get("value"), one.get("margin"), one.get("cost")
    own = offer.attributes
    merged = {**own, **attributes} if own and attributes else attributes or own
    items, categories = offer.item_ids, offer.category_ids
    if not items and not categories:
        item_id, category_id = merged.get("item_id"), merged.get("category_id")
        if isinstance(item_id, str):
            items = (item_id,)
        elif isinstance(category_id, str):
            categories = (category_id,)
    return Offer(
        one["offer_id"],
        items,
        categories,
        offer.value if value is None else value,
        offer.margin if margin is None else margin,
        offer.cost if cost is None else cost,
        offer.prior_p,
        offer.channels,
        {**offer.levers, **levers} if levers else offer.levers,
        offer.caps,
        offer.valid_to_us,
        offer.ignore_need,
        offer.when,
        merged,
        offer.fallback_rule,
    )
