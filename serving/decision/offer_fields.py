"""What an offer may say, checked once when a release is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from serving.decision.caps import read_caps
from serving.decision.expression import check_expression
from serving.decision.fields import Fields, Refused

__all__ = ["OFFER_FIELDS", "Vocabulary", "check_worthwhile", "read_offer", "read_offers", "read_when"]

OFFER_FIELDS = (
    *("offer_id", "name", "name_zh", "items", "categories", "value", "margin", "cost", "prior_p", "fallback"),
    *("channels", "placements", "scenarios", "stores", "lifecycle_states", "value_tiers", "tags", "consents"),
    *("collections", "valid_from", "valid_to", "when", "levers", "caps", "ignore_need", "attributes"),
)


class Vocabulary(NamedTuple):
    """The names that the policy knows."""

    channels: tuple[str, ...]
    lifecycle_states: tuple[str, ...]
    value_tiers: tuple[str, ...]
    cap_sets: Mapping[str, list[dict[str, Any]]]


def read_offers(content: Any, keys: Sequence[str | int], known: Vocabulary) -> list[dict[str, Any]]:
    """All offers, checked one by one and against each other (one offer_id each, at least one fallback)."""
    if not isinstance(content, list) or not content:
        raise Refused(keys, "must be a list of offers", got=type(content).__name__, expected="[{offer_id, ...}, ...]")
    first: dict[str, int] = {}
    offers = []
    for place, one in enumerate(content):
        offer = read_offer(one, (*keys, place), known)
        if offer["offer_id"] in first:
            raise Refused(
                (*keys, place, "offer_id"),
                f"duplicate offer_id {offer['offer_id']!r}",
                got=f"offers {first[offer['offer_id']] + 1} and {place + 1} of the list",
                expected="one offer per id",
            )
        first[offer["offer_id"]] = place
        offers.append(offer)
    if not any("fallback" in offer for offer in offers):
        raise Refused(keys, "no offer is a fallback", expected="at least one offer with `fallback: rule_name`")
    return offers


def read_offer(content: Any, keys: Sequence[str | int], known: Vocabulary) -> dict[str, Any]:
    """One offer as the release keeps it: absent fields left out, instants in microseconds, caps flattened."""
    fields = Fields(content, keys, OFFER_FIELDS)
    fields.required("offer_id", "a text, unique among offers")
    fallback = fields.text("fallback")
    items, categories = fields.texts("items"), fields.texts("categories")
    if fallback is None:
        if not items and not categories:
            raise Refused(keys, "the offer has no target", expected="items, categories or both")
        fields.required("value", "the money it brings if accepted, above 0")
    value = fields.number("value", low=0.0)
    if value == 0.0:
        raise fields.refuse("value", "is zero, so the offer could never be worth showing", "above 0")
    start, end = fields.instant("valid_from"), fields.instant("valid_to")
    if start is not None and end is not None and end <= start:
        raise fields.refuse("valid_to", "ends before it begins", "later than valid_from")
    offer: dict[str, Any] = {
        "offer_id": fields.text("offer_id"),
        "name": fields.text("name"),
        "name_zh": fields.text("name_zh"),
        "items": items,
        "categories": categories,
        "value": value,
        "margin": fields.number("margin", low=0.0, high=1.0),
        "cost": fields.number("cost", low=0.0),
        "prior_p": fields.number("prior_p", low=0.0, high=1.0),
        "fallback": fallback,
        "channels": fields.texts("channels", one_of=known.channels, what="channel"),
        "placements": fields.texts("placements"),
        "scenarios": fields.texts("scenarios"),
        "stores": fields.texts("stores"),
        "lifecycle_states": fields.texts("lifecycle_states", one_of=known.lifecycle_states, what="lifecycle state"),
        "value_tiers": fields.texts("value_tiers", one_of=known.value_tiers, what="value tier"),
        "tags": _tags(fields),
        "consents": fields.texts("consents"),
        "collections": fields.texts("collections"),
        "valid_from_us": start,
        "valid_to_us": end,
        "when": read_when(fields),
        "levers": fields.weights("levers"),
        "caps": read_caps(content.get("caps"), (*keys, "caps"), known.cap_sets),
        "ignore_need": fields.flag("ignore_need"),
        "attributes": _attributes(fields),
    }
    return {
        name: one for name, one in offer.items() if one is not None and one is not False and one != [] and one != {}
    }


def check_worthwhile(offers: Sequence[Mapping[str, Any]], keys: Sequence[str | int], default_margin: float) -> None:
    """Refuse the first offer, fallbacks aside, whose ``value * margin - cost`` cannot be above 0.

    Where only the items' margins count, of which nothing is known here, it is taken as 1.
    """
    for place, offer in enumerate(offers):
        if "fallback" in offer:
            continue
        margin = offer.get("margin", 1.0 if "items" in offer else default_margin)
        earns = offer["value"] * margin - offer.get("cost", 0.0)
        if earns <= 0.0:
            name = next((name for name in ("cost", "margin") if name in offer), "value")
            raise Refused(
                (*keys, place, name),
                "can never be worthwhile",
                got=f"value * margin - cost = {earns:g}, with a margin of {margin:g}",
                expected="above 0",
            )


def read_when(fields: Fields) -> str | None:
    """The checked text of the field ``when``."""
    text = fields.text("when")
    problem = None if text is None else check_expression(text)
    if problem is not None:
        raise fields.refuse("when", f"is no valid condition: {problem}", "CEL over user, context, offer, item")
    return text


def _tags(fields: Fields) -> dict[str, list[str]]:
    content = fields.content.get("tags")
    if content is None:
        return {}
    tags = Fields(content, (*fields.keys, "tags"), ("any_of", "all_of", "none_of"))
    found = {how: tags.texts(how) for how in ("any_of", "all_of", "none_of")}
    both = sorted(set(found["none_of"]) & {*found["all_of"], *found["any_of"]})
    if both:
        raise tags.refuse("none_of", f"contradicts the tags asked for: {both[0]!r}", "tags named once")
    return {how: listed for how, listed in found.items() if listed}


def _attributes(fields: Fields) -> dict[str, Any]:
    content = fields.content.get("attributes") or {}
    plain = (str, int, float, bool)
    if not isinstance(content, Mapping) or not all(
        isinstance(one, plain) or (isinstance(one, list) and all(isinstance(x, plain) for x in one))
        for one in content.values()
    ):
        raise fields.refuse("attributes", "must be a mapping", "name: text, number, true or false, or a list of these")
    return {str(name): one for name, one in content.items()}
