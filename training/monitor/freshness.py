"""How old is what the service reads: events, snapshots, published vectors, the model itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from configs import Config
from configs.errors import FeatureError
from features import online, snapshots
from features.events import span
from features.periods import now

__all__ = ["Freshness", "freshness"]


@dataclass(frozen=True)
class Freshness:
    """Instants as ISO text, None where there is none yet; ``stale`` when published vectors are older than the limit."""

    events_until: str
    newest_snapshot: str | None
    published_as_of: str | None
    age_hours: float | None
    limit_hours: float

    @property
    def stale(self) -> bool:
        """Whether the service would name its features stale; not before anything was published."""
        return self.age_hours is not None and self.age_hours > self.limit_hours

    def as_json(self) -> dict[str, Any]:
        """The numbers, and whether they are too old."""
        return {**asdict(self), "stale": self.stale}


def freshness(config: Config) -> Freshness:
    """The ages at this moment of `features.periods.now`; of published vectors, that of the median user."""
    files = snapshots.snapshots(config, "user")
    published = _published(config)
    age = None if published is None else (now(config) - published).total_seconds() / 3600
    return Freshness(
        span(config)[1].isoformat(),
        files[-1][0].isoformat() if files else None,
        None if published is None else published.isoformat(),
        age,
        config.max_feature_age_hours,
    )


def _published(config: Config) -> datetime | None:
    try:
        middle = online.open_store(config.online_uri).middle(online.VECTOR)
    except FeatureError:
        return None  # nothing was published yet
    return None if middle is None else datetime.fromtimestamp(middle, UTC)
