"""When a model learns and when it is judged: instants on one grid, in the order of time.

::

    first event ── warm-up ──┬────┬────┬────┬──────────────── known until
                             learn from these   │
                                              judge: the last origin whose longest label window is over

The booster that is judged sees only labels whose window was over at ``judge``. In production nobody could have known
the others on that day: that is the gap between the last origin and the judged one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from configs import OriginsConfig
from configs.errors import TrainingError
from features.periods import midnight

__all__ = ["Split", "origins_before", "rolling", "split_at"]


MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
# To learn from, and to calibrate on the last of them.
LEAST_ORIGINS = 3


@dataclass(frozen=True)
class Split:
    """``origins`` on one grid, oldest first; ``judge`` is one of them; labels after ``known_until`` are unknown."""

    origins: tuple[datetime, ...]
    judge: datetime
    known_until: datetime

    @property
    def log(self) -> dict[str, object]:
        """What MLflow keeps."""
        return {
            "origins": len(self.origins),
            "first_origin": self.origins[0].isoformat(),
            "last_origin": self.origins[-1].isoformat(),
            "judged_at": self.judge.isoformat(),
            "labels_known_until": self.known_until.isoformat(),
        }


def split_at(rule: OriginsConfig, horizons: Sequence[float], first_event: datetime, known_until: datetime) -> Split:
    """Lay a grid over the history; the judged origin is the last on it whose longest label window is over.

    The grid hangs on a fixed Monday and not on today, so that all models, and next week's training, share snapshots.

    Raises
    ------
    TrainingError
        When fewer than three origins lie between the warm-up and the judged origin.

    Examples
    --------
    >>> from features.periods import as_utc
    >>> split = split_at(OriginsConfig(every_days=28, most=12), [30, 90], as_utc("2024-01-01"), as_utc("2024-12-31"))
    >>> f"{split.judge:%m-%d}", len(split.origins), f"{split.origins[0]:%m-%d}", f"{split.origins[-1]:%m-%d}"
    ('09-30', 10, '03-18', '11-25')
    """
    known_until = midnight(known_until)
    step = timedelta(days=rule.every_days)
    latest = known_until - timedelta(days=max(horizons))
    judge = latest - (latest - MONDAY) % step
    before = origins_before(rule, judge, first_event)
    after: list[datetime] = []
    while (at := judge + (len(after) + 1) * step) <= known_until - timedelta(days=min(horizons)):
        after.append(at)
    if len(before) < LEAST_ORIGINS:
        raise TrainingError(
            "the history is too short to learn and to judge",
            got=f"{(known_until - first_event).days} days",
            expected=f"at least {max(horizons):.0f} (longest horizon) + {rule.warm_up_days} (warm-up)"
            f" + {LEAST_ORIGINS * rule.every_days} (three origins) days",
            run="userops ingest SOURCE --data older-files",
        )
    return Split((*before, judge, *after), judge, known_until)


def origins_before(rule: OriginsConfig, instant: datetime, first_event: datetime) -> list[datetime]:
    """The origins on the grid before ``instant``, oldest first, none within the warm-up."""
    earliest = first_event + timedelta(days=rule.warm_up_days)
    steps = (instant - k * timedelta(days=rule.every_days) for k in range(rule.most, 0, -1))
    return [at for at in steps if at >= earliest]


def rolling(
    rule: OriginsConfig,
    horizons: Sequence[float],
    first_event: datetime,
    known_until: datetime,
    count: int,
    every: int = 1,
) -> tuple[datetime, ...]:
    """The last ``count`` origins that can be judged, oldest first, ``every`` steps of the grid apart.

    Each has its longest label window over at ``known_until``, and three origins to learn from before it. Fewer come
    back where the history holds fewer; the last is the judged origin of `split_at`.

    Raises
    ------
    TrainingError
        When not even one can be judged.

    Examples
    --------
    >>> from features.periods import as_utc
    >>> rule = OriginsConfig(every_days=28, most=12)
    >>> found = rolling(rule, [30, 90], as_utc("2024-01-01"), as_utc("2024-12-31"), 3)
    >>> [f"{origin:%m-%d}" for origin in found]
    ['08-05', '09-02', '09-30']
    """
    last = split_at(rule, horizons, first_event, known_until).judge
    back = (last - k * timedelta(days=rule.every_days * every) for k in range(count))
    return tuple(at for at in back if len(origins_before(rule, at, first_event)) >= LEAST_ORIGINS)[::-1]
