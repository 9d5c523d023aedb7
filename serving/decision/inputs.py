"""Everything that one decision may see, as one value that can be written down and read back exactly."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from pydantic_core import to_json

__all__ = ["Action", "GlobalCount", "Inputs", "Need"]


_UNKNOWN: Any = object()


class Action(NamedTuple):
    """What happened to this user: ``event`` is decision, impression, click, accept, order or a name of your own."""

    offer_id: str
    event: str
    placement: str | None
    at_us: int


class GlobalCount(NamedTuple):
    """How often ``event`` happened to an offer, over all users, on one calendar day (UTC, ``2026-11-21``)."""

    offer_id: str
    event: str
    day: str
    placement: str | None
    n: int


class Need(NamedTuple):
    """Where a user stands in the purchase rhythm of a category bought before; both durations in days."""

    days_since: float
    usual_days: float
    satisfied: bool


@dataclass(frozen=True)
class Inputs:
    """What ``decide`` sees; nothing else may influence a decision but the release (policy, offers, models).

    Attributes
    ----------
    at_us
        The instant of the decision, microseconds since 1970 UTC. ``decide`` reads no clock.
    context
        channel, placement, scenario, store_id, device, locale (texts or absent) and attributes (a mapping).
    candidates
        The candidates of the request (offer_id, value, cost, margin, levers, attributes), or None: the catalogue's.
    allow_duplicates
        False: of several offers about exactly the same items and categories only the best takes part.
    interests
        A rough propensity in [0, 1] per item_id or category_id. It only chooses which offers are scored where the
        catalogue has more eligible ones than ``candidate_source["max"]``; an absent id counts as 0.
    scores
        Calibrated probabilities of the user-level heads, for example ``p_inactive_30d``, and the expected spend that
        makes the tiers (``spend_365d``); None where unknown.
    consent
        Per channel or purpose; absent means never asked.
    not_interested
        item_id, category_id or offer_id to the instant at which the user said so.
    damped
        item_id, category_id (of offers about the whole category) or offer_id to the factor in [0, 1] by which its
        interest falls because it resembles something the user refused: 0 is the same thing, 1 has nothing to do with
        it. Another offer about exactly what a refused one is about goes in any case.
    actions
        This user's, of the last 93 days, in any order.
    global_counts
        Of the offers that have a cap of scope ``global``, for the days of its window.
    stock, items, store_items, store_categories
        Facts of the assortment, looked up by item_id; ``items`` holds category_id, price, margin, is_slow_moving,
        valid_from_us, valid_to_us. They may be large live mappings: ``narrowed`` keeps what a decision read.
        ``store_items`` and ``store_categories`` are None where the store is unknown: then no offer is dropped for it.
    response_counts
        Per channel: how many were shown and how many answered.

    Examples
    --------
    >>> inputs = Inputs("d_1", "r_1", "u_1", 1_700_000_000_000_000, context={"channel": "app"})
    >>> Inputs.from_json(inputs.to_json()) == inputs
    True
    """

    decision_id: str
    request_id: str
    user_id: str
    at_us: int
    context: Mapping[str, Any] = field(default_factory=dict)
    candidates: list[dict[str, Any]] | None = None
    candidate_source: Mapping[str, Any] | None = None
    limit: int = 1
    objective: str | None = None
    exploration: Mapping[str, Any] | None = None
    respect_caps: bool = True
    allow_duplicates: bool = False
    paused_channels: tuple[str, ...] = ()
    personalization: bool = True
    explain_level: str = "reason_codes"
    top_n: int = 3
    lang: str = "zh"
    lifecycle_state: str | None = None
    value_tier: str | None = None
    tags: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    interests: Mapping[str, float] = field(default_factory=dict)
    consent: Mapping[str, bool] = field(default_factory=dict)
    opted_out: bool = False
    not_interested: Mapping[str, int] = field(default_factory=dict)
    damped: Mapping[str, float] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    global_counts: tuple[GlobalCount, ...] = ()
    needs: Mapping[str, Need] = field(default_factory=dict)
    stock: Mapping[str, float | None] = field(default_factory=dict)
    items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    store_items: Collection[str] | None = None
    store_categories: Collection[str] | None = None
    response_counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    features_stale: bool = False

    def narrowed(self, item_ids: Collection[str], category_ids: Collection[str] = ()) -> Inputs:
        """The same inputs with only these items and categories of the assortment: what the log keeps.

        ``decide`` gives the same decision for ``inputs.narrowed(decision.items_read, decision.categories_read)``.
        """
        shop, shelf = self.store_items, self.store_categories
        return replace(
            self,
            # One question each: they may be live mappings, of which each answer costs.
            stock={i: n for i in item_ids if (n := self.stock.get(i, _UNKNOWN)) is not _UNKNOWN},
            items={i: dict(facts) for i in item_ids if (facts := self.items.get(i)) is not None},
            store_items=None if shop is None else frozenset(i for i in item_ids if i in shop),
            store_categories=None if shelf is None else frozenset(c for c in category_ids if c in shelf),
        )

    def to_json(self) -> bytes:
        """UTF-8 JSON from which ``from_json`` builds an equal value: every float keeps its last bit."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("store_items", "store_categories"):
            if content[name] is not None:
                content[name] = sorted(content[name])
        return to_json(content, inf_nan_mode="constants")

    @classmethod
    def from_json(cls, content: bytes | str) -> Inputs:
        """The value that ``to_json`` wrote; unknown fields are an error (``TypeError``)."""
        read = json.loads(content)
        read["actions"] = tuple(Action(*line) for line in read["actions"])
        read["global_counts"] = tuple(GlobalCount(*line) for line in read["global_counts"])
        read["needs"] = {category: Need(*need) for category, need in read["needs"].items()}
        read["response_counts"] = {channel: tuple(pair) for channel, pair in read["response_counts"].items()}
        read["paused_channels"] = tuple(read["paused_channels"])
        for name in ("store_items", "store_categories"):
            if read[name] is not None:
                read[name] = frozenset(read[name])
        return cls(**read)
