"""The answer to ``POST /v1/score/interest``."""

from __future__ import annotations

import sqlite3
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.errors import FeatureError
from serving.batch import check_known, iso, moment_of, too_new, vector_hash
from serving.errors.problem import Problem
from serving.metrics import metrics
from serving.nbo.interests import Wanted, allowed_codes, interests, known_users
from serving.schemas_interest import InterestRequest
from serving.watch import note, note_stage

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["score_interest"]


def score_interest(live: Live, asked: InterestRequest, request_id: str) -> dict[str, Any]:
    """The answer; ``users[i]`` for ``user_ids[i]``."""
    note(request_id=request_id)
    began = perf_counter()
    live.check_many(asked.user_ids)
    release = live.release
    model = release.bundle.interest
    if model is None:
        expected = sorted(release.models)
        raise Problem(404, "unknown-model", "the release in force has no such model", expected=expected, got="interest")
    at_us = moment_of(asked.as_of, live.now())
    log = live.log()
    try:
        with live.logging():
            shop = live.offers.memory.shop()
            known = known_users(live, release, log, shop, asked.user_ids, at_us, asked.strict)
    except (FeatureError, sqlite3.Error) as error:
        raise live.unreadable(error) from None
    if asked.as_of is not None and (latest := max((one.as_of_us for one in known if one.found), default=0)) > at_us:
        raise too_new(latest, at_us)
    if asked.strict:
        check_known(asked.user_ids, [one.found for one in known])
    read_s = perf_counter() - began
    wanted = Wanted(asked.categories, asked.items, asked.explain.level != "none", asked.explain.lang)
    allowed = allowed_codes(shop, asked.store_id)
    users = [interests(model, one, at_us, wanted, shop, allowed) for one in known]
    score_s = perf_counter() - began - read_s
    found = [one for one in known if one.found]
    stale = [one.user_id for one in found if one.stale]
    for stage, seconds in (("features", read_s), ("score", score_s)):
        note_stage(stage, seconds)
    oldest = max((one.age_s for one in found), default=None)
    metrics().scored("interest", len(found), len(known) - len(found), len(stale))
    metrics().feature_age(oldest)
    return {
        "request_id": request_id,
        "model": release.interest_block(),
        "features": {
            "service": "interest",
            "as_of": iso(min(one.as_of_us for one in found)) if found else None,
            "max_age_s": oldest,
            "stale": stale,
            "vector_hash": vector_hash(np.array([one.vector for one in known])),
        },
        "horizon_days": model.horizon_days,
        "users": users,
        "timing_ms": {
            "features": round(1e3 * read_s, 3),
            "score": round(1e3 * score_s, 3),
            "total": round(1e3 * (perf_counter() - began), 3),
        },
    }
