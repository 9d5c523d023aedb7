"""How old what is known of the users is: when it was published last, and whether answers still may use it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from configs.errors import FeatureError
from features import online
from serving.errors.problem import Problem

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["Freshness", "freshness"]


@dataclass(frozen=True)
class Freshness:
    """``as_of`` is None where nobody knows; ``fault`` says why features cannot be read at all."""

    as_of: datetime | None = None
    stale: bool = False
    fault: str | None = None


def freshness(live: Live) -> Freshness:
    """The state of the published features, as an answer to a campaign would meet them."""
    try:
        live.read(["console"])
    except Problem as problem:
        return Freshness(fault=problem.detail)
    as_of = _published(live)
    if as_of is None:
        return Freshness()
    return Freshness(as_of, (live.now() - as_of).total_seconds() > live.max_age_s)


def _published(live: Live) -> datetime | None:
    try:
        noted = online.open_store(live.config.online_uri).last_publication(online.VECTOR.view)
    except (FeatureError, sqlite3.Error):
        return None
    return None if noted is None else datetime.fromtimestamp(int(noted["as_of"]), UTC)
