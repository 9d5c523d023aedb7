"""The answer to ``GET /v1/users/{id}/profile``: what is known of one user, and every score."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from configs.errors import FeatureError
from serving.nbo.interests import wishes
from serving.nbo.state import lifecycle_state
from serving.schemas import Explain
from serving.scoring.value.model import NAME as VALUE

if TYPE_CHECKING:
    from serving.live import Live, Release

__all__ = ["profile_of"]

_NEXT_ORDER = ("expected_next_order_at", "expected_next_order")
_TIER = ("value_tier", "value_tier_text")


async def profile_of(live: Live, user_id: str, explain: Explain, strict: bool, release: Release) -> dict[str, Any]:
    """The answer, with the scores of ``release``; with ``strict`` an unknown user is a 404."""
    batch = live.read([user_id], strict=strict)
    try:
        profile = live.reader().profiles([user_id])[0]
    except (FeatureError, sqlite3.Error) as error:
        raise live.unreadable(error) from None
    scores: dict[str, Any] = {}
    for name, served in release.models.items():
        users, _ = await live.scored(served, batch, explain)
        user = users[0]
        scores[name] = {
            "model": served.block(),
            **{key: user[key] for key in user if key in ("scores", *_NEXT_ORDER, *_TIER)},
        }
    known = bool(batch.found[0])
    if profile is not None and known:
        told = {head: score["p"] for model in scores.values() for head, score in model["scores"].items()}
        state = lifecycle_state(profile.get("lifecycle_state"), told)
        profile = {**profile, "lifecycle_state": state, **{key: scores.get(VALUE, {}).get(key) for key in _TIER}}
    return {
        "user_id": user_id,
        "known": known,
        "status_reason": None if known else batch.unknown(0),
        "features": batch.block("profile"),
        "profile": profile,
        "scores": scores,
        **wishes(live, release, user_id, explain, profile),
    }
