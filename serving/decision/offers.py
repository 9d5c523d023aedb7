"""The offers in force: one tuple each, and columns for what is tested on all of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.decision.caps import Cap
from serving.decision.conditions import Labels
from serving.decision.expression import Expression

__all__ = ["DIMENSIONS", "Catalogue", "Offer"]

FOREVER = 2**62

#: The columns that restrict an offer, and what a rule calls the value that it did not allow.
DIMENSIONS = {
    "channels": "channel",
    "placements": "placement",
    "scenarios": "scenario",
    "stores": "store",
    "lifecycle_states": "lifecycle_state",
    "value_tiers": "value_tier",
}


class Offer(NamedTuple):
    """One offer; every field is explained at the top of ``configs/offers.yaml``. Money in one currency, margin a share.

    ``value`` is None only of a candidate of a request that named none; ``margin`` None means: the items'.
    """

    offer_id: str
    item_ids: tuple[str, ...] = ()
    category_ids: tuple[str, ...] = ()
    value: float | None = None
    margin: float | None = None
    cost: float = 0.0
    prior_p: float | None = None
    channels: tuple[str, ...] = ()
    levers: Mapping[str, float] = {}
    caps: tuple[Cap, ...] = ()
    valid_to_us: int = FOREVER
    ignore_need: bool = False
    when: Expression | None = None
    attributes: Mapping[str, Any] = {}
    fallback_rule: str | None = None


class Catalogue:
    """All offers of a release. Places are positions in ``offers``, which keeps the order of the file."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], digest: str = "", defaults: tuple[float, float] = (1.0, 0.0)):
        programs: dict[str, Expression] = {}
        for row in rows:
            if row.get("when") and row["when"] not in programs:
                programs[row["when"]] = Expression.of(row["when"])
        self.digest = digest
        caps: dict[Cap, Cap] = {}
        self.offers = [_offer(row, programs, caps) for row in rows]
        self.place = {offer.offer_id: place for place, offer in enumerate(self.offers)}
        n = len(rows)
        self.ranked = np.asarray([offer.fallback_rule is None for offer in self.offers], dtype=np.bool_).reshape(n)
        self.fallbacks = tuple(place for place, offer in enumerate(self.offers) if offer.fallback_rule is not None)
        self.valid_from_us = np.asarray([row.get("valid_from_us") or 0 for row in rows], dtype=np.int64)
        self.valid_to_us = np.asarray([offer.valid_to_us for offer in self.offers], dtype=np.int64)
        self.dimensions = {name: Labels([row.get(name, ()) for row in rows]) for name in DIMENSIONS}
        tags = [row.get("tags") or {} for row in rows]
        self.tags = {how: Labels([tag.get(how, ()) for tag in tags]) for how in ("any_of", "all_of", "none_of")}
        self.consents = Labels([row.get("consents", ()) for row in rows])
        self.collections = Labels([row.get("collections", ()) for row in rows])
        self.conditions = [program for program in programs.values() if program.narrow]
        #: What the expressions of all offers read, see ``Expression.reads``.
        self.reads = frozenset(read for program in programs.values() for read in program.reads)
        number = {program.text: k for k, program in enumerate(self.conditions)}
        self.condition = np.asarray(
            [number.get(offer.when.text, -1) if offer.when else -1 for offer in self.offers], dtype=np.int64
        )
        self._targets(defaults)
        capped = [offer for offer in self.offers if any(cap.everyone for cap in offer.caps)]
        #: The offers whose caps need ``Inputs.global_counts``, and how many days of them.
        self.globally_capped = tuple(offer.offer_id for offer in capped)
        self.global_days = max(
            (c.n * {"day": 1, "week": 7, "month": 31}[c.unit] for o in capped for c in o.caps if c.everyone), default=0
        )

    def __len__(self) -> int:
        return len(self.offers)

    @classmethod
    def load(cls, content: Mapping[str, Any]) -> Catalogue:
        """The catalogue that ``offers.json`` of a release holds; 10,000 offers in a fraction of a second."""
        return cls(content["offers"], content["digest"], (content["default_margin"], content["default_p"]))

    def at(self, places: NDArray[np.int64]) -> Iterator[Offer]:
        """The offers at these places, one after the other."""
        return map(self.offers.__getitem__, places.tolist())

    def _targets(self, defaults: tuple[float, float]) -> None:
        """Targets as numbers, and what an offer earns if accepted: only to choose which of too many are scored."""
        margin, p = defaults
        numbers: dict[str, int] = {}
        flat: list[int] = []
        starts = []
        for offer in self.offers:
            starts.append(len(flat))
            for target in offer.item_ids + offer.category_ids or ("",):
                flat.append(numbers.setdefault(target, len(numbers)))  # noqa: PERF401
        self._numbers, self._flat, self._starts = numbers, np.asarray(flat, np.int64), np.asarray(starts, np.int64)
        groups: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
        same = [groups.setdefault((offer.item_ids, offer.category_ids), len(groups)) for offer in self.offers]
        self._group, self._groups = np.asarray(same, np.int64), len(groups)
        value = np.asarray([offer.value or 0.0 for offer in self.offers], dtype=np.float64)
        share = np.asarray([margin if offer.margin is None else offer.margin for offer in self.offers])
        cost = np.asarray([offer.cost for offer in self.offers], dtype=np.float64)
        lever = np.asarray([1.0 + sum(offer.levers.values()) / 100.0 for offer in self.offers])
        self._earns = np.maximum(value * share - cost, 0.0) * np.maximum(lever, 0.0)
        prior = [p if offer.prior_p is None else offer.prior_p for offer in self.offers]
        self._prior = np.maximum(np.asarray(prior, dtype=np.float64), 1e-9)  # without any prior, by what they earn

    def rough_order(
        self, places: NDArray[np.int64], interests: Mapping[str, float], first: int, *, duplicates: bool = True
    ) -> Iterator[NDArray[np.int64]]:
        """``places`` by falling rough value, in two parts: about the ``first``, and, if ever asked for, the rest.

        The rough value is the largest interest in a target times what the offer earns. Offers without any known
        interest come after those with one, by prior times what they earn; after these all but the best of those about
        just the same, for one target is offered once. Ties keep the order of the file.
        """
        of_target = np.zeros(len(self._numbers), dtype=np.float64)
        for target, interest in interests.items():
            number = self._numbers.get(target)
            if number is not None:
                of_target[number] = interest
        wanted = np.maximum.reduceat(of_target[self._flat], self._starts)[places]
        earns = self._earns[places]
        key = np.where(wanted > 0.0, -wanted * earns, 1.0 / (1.0 + self._prior[places] * earns))
        if not duplicates:
            group, best = self._group[places], np.full(self._groups, np.inf)
            np.minimum.at(best, group, key)
            key = np.where(key == best[group], key, np.where(key < 0.0, 2.0 + 1.0 / (1.0 + np.abs(key)), 4.0 + key))
        if first < len(places):
            near = key <= np.partition(key, first)[first]
            yield places[near][np.argsort(key[near], kind="stable")]
            places, key = places[~near], key[~near]
        yield places[np.argsort(key, kind="stable")]


def _offer(row: Mapping[str, Any], programs: Mapping[str, Expression], known: dict[Cap, Cap]) -> Offer:
    caps = [Cap(**cap) for cap in row.get("caps", ())]
    return Offer(
        offer_id=row["offer_id"],
        item_ids=tuple(row.get("items", ())),
        category_ids=tuple(row.get("categories", ())),
        value=row.get("value"),
        margin=row.get("margin"),
        cost=row.get("cost", 0.0),
        prior_p=row.get("prior_p"),
        channels=tuple(row.get("channels", ())),
        levers=row.get("levers", {}),
        caps=tuple(known.setdefault(cap, cap) for cap in caps),
        valid_to_us=row.get("valid_to_us") or FOREVER,
        ignore_need=row.get("ignore_need", False),
        when=programs[row["when"]] if row.get("when") else None,
        attributes=row.get("attributes", {}),
        fallback_rule=row.get("fallback"),
    )
