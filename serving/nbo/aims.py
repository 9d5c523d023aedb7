"""What an audience is to buy: a category, an item, an offer, checked against what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs.history import code
from serving.errors.problem import Problem, shown
from serving.nbo.shop import Shop
from serving.schemas_decision import AudienceRequest
from serving.scoring.interest.model import InterestModel

if TYPE_CHECKING:
    from serving.live import Release

__all__ = ["Aim", "aim_of"]


@dataclass(frozen=True)
class Aim:
    """Items and categories of which something is to be bought; ``named`` is how the caller named it."""

    items: tuple[str, ...]
    categories: tuple[str, ...]
    named: dict[str, Any]


def aim_of(asked: AudienceRequest, release: Release, shop: Shop | None) -> Aim:
    """The aim of a request; exactly one of category, channel, offer and item, known here, sold in the store named."""
    given = {
        name: value for name in ("category", "channel", "offer", "item") if (value := getattr(asked, name)) is not None
    }
    if len(given) != 1:
        expected = "exactly one of category, channel, offer and item"
        raise Problem(
            400, "invalid-request", f"{expected} is wanted", field="category", expected=expected, got=sorted(given)
        )
    (field, name), *_ = given.items()
    if field == "offer":
        items, categories = release.rules.target_of(name) if release.rules is not None else ((), ())
        if not items and not categories:
            raise _unknown(field, name, "an offer of the catalogue that is about items or categories")
    elif field == "item":
        items, categories = (name,), ()
        model = release.bundle.interest
        if model is not None and model.text(code(name)) is None and (shop is None or name not in shop.items):
            raise _unknown(field, name, "an item that was sold, or that the assortment holds")
    else:
        items, categories = (), (name,)
        if release.bundle.interest is not None and not _is_category(release.bundle.interest, name):
            raise _unknown(field, name, "a category that something was sold of")
    if asked.store is not None and shop is not None:
        carried = shop.carried(asked.store)
        if carried is None:
            raise _unknown("store", asked.store, "a store of the published assortment")
        if not any(item in carried[0] for item in items) and not any(one in carried[1] for one in categories):
            raise Problem(422, "not-sold-there", "the store sells nothing of it", field="store", got=shown(asked.store))
    return Aim(items, categories, {field: name, "store": asked.store})


def _is_category(model: InterestModel, name: str) -> bool:
    known = model.statistics["category"].items
    return bool((known == code(name)).any())


def _unknown(field: str, got: str, expected: str) -> Problem:
    return Problem(
        422, f"unknown-{field}", f"nobody knows this {field}", field=field, expected=expected, got=shown(got)
    )
