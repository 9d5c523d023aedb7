"""What users will want next: categories, items and tags, for ``POST /v1/score/interest`` and the profile."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import FeatureError
from configs.history import code
from serving.batch import UNREADABLE, iso, microseconds
from serving.log import DecisionLog, UserState
from serving.nbo import reading
from serving.nbo.gather import Known
from serving.nbo.reasons import because
from serving.nbo.shop import Shop
from serving.nbo.tags import PREFIX, interest_tags, own_categories
from serving.schemas import Explain
from serving.scoring.interest.model import InterestModel, Scored

if TYPE_CHECKING:
    from serving.live import Live, Release

__all__ = ["Wanted", "allowed_codes", "granted", "interests", "known_users", "wishes"]

_log = logging.getLogger("bentoml.userops")

_CANDIDATES = 200


@dataclass(frozen=True)
class Wanted:
    """How much is told of each user."""

    categories: int
    items: int
    reasons: bool
    lang: str


def known_users(
    live: Live,
    release: Release,
    log: DecisionLog,
    shop: Shop | None,
    user_ids: Sequence[str],
    at_us: int,
    strict: bool = False,
) -> list[Known]:
    """What is known of each user, wishes respected; row i is ``user_ids[i]``.

    Raises
    ------
    FeatureError
        When nobody can be read; with ``strict``, when somebody cannot.
    """
    reader = live.reader()
    told: list[Known] = []
    broken: FeatureError | None = None
    for user_id in user_ids:
        try:
            row = reader.decision_row(user_id)
        except FeatureError as error:
            if strict:
                raise
            state, broken = log.state(user_id, at_us, after_us=0), error
            told.append(replace(reading.nobody(state, personal=state.personalization), unreadable=True))
            continue
        state = log.state(user_id, at_us, after_us=row.as_of_us if row.found else 0)
        if state.personalization:
            told.append(reading.known(row, state, release, shop, at_us, live.max_age_s))
        else:
            told.append(reading.nobody(state, personal=False))
    if broken is not None:
        unreadable = sum(one.unreadable for one in told)
        if unreadable == len(told):
            raise broken
        _log.error("features of %d of %d users cannot be read: %s", unreadable, len(told), broken)
    return told


def interests(
    model: InterestModel,
    known: Known,
    at_us: int,
    wanted: Wanted,
    shop: Shop | None,
    allowed: NDArray[np.int64] | None,
) -> dict[str, Any]:
    """One user's answer; ``allowed`` are the codes, rising, of the items that can be had."""
    history = known.history
    reason = None if known.found or len(history) else UNREADABLE if known.unreadable else "UNKNOWN_USER"
    scored = own_categories(model, history, at_us) if known.personal and not known.unreadable else None
    categories: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    if scored is not None:
        why = _why(model, known, at_us, wanted)
        needs = model.needs(history, at_us)
        for row in _best(scored, wanted.categories):
            name, number = model.text(int(scored.codes[row])), int(scored.codes[row])
            need = needs.get(number)
            categories.append(
                {"category_id": name, "item_id": None, **_entry(scored, row, need), "because": why(number)}
            )
        codes = model.candidates(history, at_us, _CANDIDATES, allowed) if wanted.items else np.empty(0, np.int64)
        found = model.score_items(history, at_us, codes)
        for row in _best(found, wanted.items):
            number = int(found.codes[row])
            group = model.category_of(number)
            name = model.text(number)
            category = model.text(group) or (None if shop is None else shop.category_of(name))
            entry = {"category_id": category, "item_id": name, **_entry(found, row, needs.get(group))}
            items.append({**entry, "because": why(number)})
    tags = [] if scored is None else interest_tags(model, history, at_us, scored, known.state.deleted_tags, wanted.lang)
    return {
        "user_id": known.user_id,
        "known": known.found,
        "status_reason": reason if known.personal else "PERSONALIZATION_OFF",
        "as_of": iso(known.as_of_us) if known.found else None,
        "age_s": known.age_s if known.found else None,
        "stale": known.stale,
        "categories": categories,
        "items": items,
        "tags": tags,
    }


def wishes(
    live: Live, release: Release, user_id: str, explain: Explain, profile: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a profile adds: whether the person may be known, interests, the tags that follow; and what it withholds."""
    model, log, at_us = release.bundle.interest, live.log(), microseconds(live.now())
    shop: Shop | None = None
    with live.logging():
        try:
            shop = live.offers.memory.shop()
            known = known_users(live, release, log, shop, [user_id], at_us)[0]
        except (FeatureError, sqlite3.Error) as error:  # published before there were histories
            _log.warning("interests cannot be told: %s", error)
            model, known = None, reading.nobody(log.state(user_id, at_us, after_us=at_us), personal=False)
    state = known.state
    told = {"personalization": "on" if state.personalization else "off", "profile": granted(profile, state)}
    if model is None:
        return {**told, "interests": None, "tags": []}
    wanted = Wanted(explain.top_n, explain.top_n, explain.level != "none", explain.lang)
    found = interests(model, known, at_us, wanted, shop, None)
    own = {name: found[name] for name in ("categories", "items")}
    return {**told, "interests": {"model": release.interest_block(), **own}, "tags": found["tags"]}


def granted(profile: Mapping[str, Any] | None, state: UserState) -> dict[str, Any] | None:
    """The published profile without what its person does not want known."""
    if profile is None or not state.personalization:
        return None
    top = profile.get("top_categories")
    if not top:
        return dict(profile)
    kept = [one for one in top if f"{PREFIX}{one.get('category_id')}" not in state.deleted_tags]
    return {**profile, "top_categories": kept}


def allowed_codes(shop: Shop | None, store_id: str | None) -> NDArray[np.int64] | None:
    """The codes, rising, of what a store sells; None where nothing is known of it: then nothing is left out."""
    carried = None if shop is None else shop.carried(store_id)
    return None if carried is None else np.unique(np.fromiter((code(item) for item in carried[0]), np.int64))


def _best(scored: Scored, most: int) -> list[int]:
    return [int(row) for row in np.argsort(-scored.raw, kind="stable")[:most]]


def _entry(scored: Scored, row: int, need: Any) -> dict[str, Any]:
    told = None
    if need is not None:
        told = {"days_since": need.days_since, "usual_days": need.usual_days, "satisfied": need.satisfied}
    return {
        "p": float(scored.p[row]),
        "p_interval": [float(scored.p_low[row]), float(scored.p_high[row])],
        "p_calibrated": scored.calibrated,
        "score": float(scored.raw[row]),
        "need": told,
    }


def _why(model: InterestModel, known: Known, at_us: int, wanted: Wanted) -> Callable[[int], dict[str, Any] | None]:
    if not wanted.reasons or not len(known.history):
        return lambda number: None
    past = model.past(known.history, at_us)
    return lambda number: because(model, past, number, wanted.lang)
