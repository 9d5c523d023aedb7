"""May this offer be shown here, now, to this person? First on columns, then on the shelf of the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.decision.moment import Moment
from serving.decision.offers import DIMENSIONS, Catalogue, Offer
from serving.decision.result import Target

__all__ = ["Shelf", "screen"]

Places = NDArray[np.int64]


def screen(moment: Moment, catalogue: Catalogue, places: Places) -> tuple[Places, list[tuple[str, Places]]]:
    """The places of the offers that every column condition allows; the others under the first rule they broke."""
    dropped = []
    for rule, allowed in _rules(moment, catalogue):
        ok = allowed[places]
        if np.count_nonzero(ok) < len(places):
            dropped.append((rule, places[~ok]))
            places = places[ok]
    if catalogue.conditions:
        context, condition = moment.facts.moment(), catalogue.condition[places]
        for number, expression in enumerate(catalogue.conditions):
            refusal = expression.refusal(context)
            if refusal is not None and np.count_nonzero(refused := condition == number):
                dropped.append((refusal, places[refused]))
                places, condition = places[~refused], condition[~refused]
    return places, dropped


def _rules(moment: Moment, catalogue: Catalogue) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Every rule that some offer has, with bool[offers]: where a channel or a placement is not asked for, none."""
    yield "not_yet_valid", catalogue.valid_from_us <= moment.at_us
    yield "expired", catalogue.valid_to_us > moment.at_us
    asked = {
        "channels": moment.channel,
        "placements": moment.placement,
        "scenarios": moment.scenario,
        "stores": moment.store,
        "lifecycle_states": moment.state,
        "value_tiers": moment.tier,
    }
    for name, labels in catalogue.dimensions.items():
        value = asked[name]
        if not labels.restricts or (value is None and name == "placements"):
            continue
        if value is None and name == "channels":
            yield "channel=none_usable", labels.any_of(moment.usable)
        else:
            yield f"{DIMENSIONS[name]}={'unknown' if value is None else value}", labels.allow(value)
    if catalogue.tags["any_of"].restricts:
        yield "tags.any_of", catalogue.tags["any_of"].any_of(moment.tags)
    if catalogue.tags["all_of"].restricts:
        yield "tags.all_of", catalogue.tags["all_of"].all_of(moment.tags)
    if catalogue.tags["none_of"].restricts:
        yield "tags.none_of", catalogue.tags["none_of"].none_of(moment.tags)
    if catalogue.consents.restricts:
        given = [name for name, yes in moment.inputs.consent.items() if yes]
        yield "consents", catalogue.consents.all_of(given)


class Shelf:
    """The assortment as one decision looks it up, remembering what it read."""

    def __init__(self, moment: Moment) -> None:
        self._inputs, self._at_us, self._store = moment.inputs, moment.at_us, moment.store
        self._facts: dict[str, Any] = {}
        self.categories_read: dict[str, None] = {}

    def facts(self, item_id: str) -> Any:
        """What is known of an item: a mapping, empty for an unknown one."""
        facts = self._facts.get(item_id)
        if facts is None:
            facts = self._facts[item_id] = self._inputs.items.get(item_id) or {}
        return facts

    @property
    def items_read(self) -> tuple[str, ...]:
        """The items that were looked up, in the order of the first time."""
        return tuple(self._facts)

    def category_of(self, item_id: str, offer: Offer) -> str | None:
        """The category of an item; of an unknown one, what the candidate's attributes say."""
        category = self.facts(item_id).get("category_id")
        if category is None:
            category = offer.attributes.get("category_id")
        return category if isinstance(category, str) else None

    def target(self, offer: Offer) -> tuple[Target, str]:
        """What of the offer can be had here and now; an empty target comes with the rule that emptied it."""
        why = ""
        items, categories = offer.item_ids, offer.category_ids
        for item_id in offer.item_ids:
            rule = self._absent(item_id)
            if rule is not None:
                items = tuple(other for other in items if other != item_id)
                why = why or rule
        sold = self._inputs.store_categories
        if sold is not None and categories:
            for category in categories:
                self.categories_read[category] = None
            categories = tuple(category for category in categories if category in sold)
            if not categories:
                why = why or f"not_in_store:{self._store}"
        return Target(items, categories), why or "no_target"

    def _absent(self, item_id: str) -> str | None:
        facts = self.facts(item_id)
        if (start := facts.get("valid_from_us")) is not None and start > self._at_us:
            return "item_not_yet_on_sale"
        if (end := facts.get("valid_to_us")) is not None and end <= self._at_us:
            return "item_off_sale"
        shop = self._inputs.store_items
        if shop is not None and item_id not in shop:
            return f"not_in_store:{self._store}"
        stock = self._inputs.stock.get(item_id)
        return None if stock is None or not stock <= 0 else "store_stock=0"


def offer_facts(offer: Offer) -> dict[str, Any]:
    """An offer as expressions see it."""
    return {
        "offer_id": offer.offer_id,
        "value": offer.value,
        "cost": offer.cost,
        "attributes": offer.attributes,
        "item_ids": list(offer.item_ids),
        "category_ids": list(offer.category_ids),
        "channels": list(offer.channels),
    }


def condition(offer: Offer, target: Target, moment: Moment, shelf: Shelf) -> str | None:
    """The rule of the offer's own expression on offer and item if it is not met; the item is the target's first."""
    if offer.when is None or offer.when.narrow:
        return None
    item: dict[str, Any] = {}
    if target.item_ids:
        facts = shelf.facts(target.item_ids[0])
        names = ("category_id", "price", "margin", "is_slow_moving")
        item = {name: facts.get(name) for name in names}
        item |= {"item_id": target.item_ids[0], "stock": moment.inputs.stock.get(target.item_ids[0])}
    return offer.when.refusal(moment.facts.about(offer_facts(offer), item))
