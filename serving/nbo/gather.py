"""Everything known at one moment, as the ``Inputs`` of the pure decision."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from configs.history import History, code
from serving.batch import vector_hash
from serving.decision.inputs import Action, GlobalCount, Inputs, Need
from serving.log import UserState
from serving.nbo import fresh
from serving.nbo.shop import Shop
from serving.nbo.tags import PREFIX
from serving.schemas_nbo import NextBestOffer
from serving.scoring.interest.model import InterestModel

__all__ = ["SAME_CATEGORY", "Known", "damped", "forgotten", "inputs_of", "needs_of", "without"]

SAME_CATEGORY = 0.5  # how much whatever is of a category resembles a refused offer about that category
BESIDE = 0.2  # how much whatever is of a category resembles a refused item of it


@dataclass(frozen=True)
class Known:
    """What was read of one user, from one state of the online store and one of the log.

    ``history`` is up to the moment and without forgotten categories, ``remembered`` with them: whoever deletes a tag
    does not want to be sold again what was bought yesterday. Of whoever is ``unreadable`` something is published that
    nobody can read.
    """

    user_id: str
    personal: bool
    found: bool
    as_of_us: int
    vector: NDArray[np.float64]
    profile: Mapping[str, Any] | None
    history: History
    remembered: History
    state: UserState
    age_s: int
    stale: bool
    unreadable: bool = False

    @cached_property
    def vector_hash(self) -> str:
        """Of the vector, as answers and the log name it."""
        return vector_hash(self.vector)


def inputs_of(
    asked: NextBestOffer,
    known: Known,
    *,
    decision_id: str,
    request_id: str,
    at_us: int,
    scores: Mapping[str, float | None],
    lifecycle_state: str | None,
    value_tier: str | None,
    tags: Mapping[str, float],
    interests: Mapping[str, float],
    model: InterestModel | None,
    shop: Shop | None,
    response_counts: Mapping[str, tuple[int, int]],
    target_of: Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]],
) -> Inputs:
    """The whole moment as one value; without personalisation nothing that was learned of the person is in it."""
    state, context = known.state, asked.context
    wishes = asked.policy
    personal = known.personal
    place = None if shop is None else shop.carried(context.store_id)
    return Inputs(
        decision_id=decision_id,
        request_id=request_id,
        user_id=known.user_id,
        at_us=at_us,
        context=_given(context),
        candidates=None if asked.candidates is None else [_given(one) for one in asked.candidates],
        candidate_source=None if asked.candidate_source is None else _given(asked.candidate_source),
        limit=asked.limit,
        objective=asked.objective,
        exploration=None if wishes.exploration is None else _given(wishes.exploration),
        respect_caps=wishes.respect_caps,
        allow_duplicates=wishes.allow_duplicates,
        paused_channels=tuple(wishes.paused_channels),
        personalization=personal,
        explain_level=asked.explain.level,
        top_n=asked.explain.top_n,
        lang=asked.explain.lang,
        lifecycle_state=lifecycle_state if personal else None,
        value_tier=value_tier if personal else None,
        tags=tags if personal else {},
        scores=dict(scores) if personal else {},
        interests=interests,
        consent=dict(state.consent),
        opted_out=state.is_opted_out(context.channel),
        not_interested=dict(state.not_interested),
        damped=damped(state.not_interested, target_of, model) if model is not None else {},
        actions=tuple(Action(*action) for action in state.actions),
        global_counts=tuple(GlobalCount(*count) for count in state.counts),
        needs=needs_of(model, known.remembered, at_us) if model is not None and personal else {},
        stock={} if shop is None else shop.stock(context.store_id),
        items={} if shop is None else shop.items,
        store_items=None if place is None else place[0],
        store_categories=None if place is None else place[1],
        response_counts=response_counts,
        features_stale=known.stale,
    )


def _given(asked: BaseModel) -> dict[str, Any]:
    """The fields of a part of a question that are not null, in their order: what `model_dump` says, sooner."""
    return {name: value for name, value in asked.__dict__.items() if value is not None}


def damped(
    refused: Collection[str], target_of: Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]], model: InterestModel
) -> dict[str, float]:
    """What resembles something refused, to ``1 - similarity``; of several refused things the nearest counts.

    Items resemble an item by who buys both, in its category at least by `BESIDE`. Everything of a category resembles
    an offer about that category by `SAME_CATEGORY`, and so does each item a refused offer about it.
    """
    factors: dict[str, float] = {}

    def damp(name: str | None, similarity: float) -> None:
        if name is not None and name not in refused:
            factors[name] = min(factors.get(name, 1.0), 1.0 - similarity)

    for what in refused:
        items, categories = target_of(what)
        for name in (*categories, *items):
            damp(name, SAME_CATEGORY)
        for item in items or (() if categories else (what,)):
            damp(model.text(model.category_of(code(item))), BESIDE)
            for neighbour, similarity in model.neighbours(code(item)):
                damp(model.text(neighbour), similarity)
    return factors


def needs_of(model: InterestModel, history: History, at_us: int) -> dict[str, Need]:
    """Where the user stands in the rhythm of each category bought before, by category_id."""
    needs = {}
    for category, need in model.needs(history, at_us).items():
        name = model.text(category)
        if name is not None:
            needs[name] = Need(need.days_since, need.usual_days, need.satisfied)
    return needs


def forgotten(state: UserState) -> set[int]:
    """The codes of the categories whose interest tag the user had deleted."""
    return {code(tag.removeprefix(PREFIX)) for tag in state.deleted_tags if tag.startswith(PREFIX)}


def without(history: History, state: UserState, model: InterestModel | None) -> History:
    """The history that may choose for this user: nothing of categories whose tag was deleted."""
    categories = forgotten(state)
    return fresh.forget(history, categories, model.category_of if model is not None else lambda item: 0)
