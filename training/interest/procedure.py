"""The one way from histories to fitted heads: learn from past origins, calibrate on a later one, all in time order.

::

    ── learn ── learn ── learn ──────── calibrate ──────── known until
                           (origin, origin + h]
                                              (origin, origin + h]

No label that is learned lies after the calibration origin, none that calibrates after ``known_until``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import OriginsConfig
from configs.errors import TrainingError
from training.interest.examples import Asked, Known, ask, known_at
from training.interest.fit import FittedHead, fit_head
from training.interest.histories import Histories, us
from training.splits import MONDAY

__all__ = ["Fitted", "Learner", "Lessons"]

Ints = NDArray[np.int64]

# Users at one origin, and how many pairs without a purchase are learned from for each with one.
MOST_USERS, NEGATIVES = 2_000, 15.0


@dataclass(frozen=True)
class Fitted:
    """Heads fitted to what was known at one instant; ``later`` are the pairs they were calibrated on."""

    heads: dict[str, FittedHead]
    later: dict[str, Asked]
    learned: dict[str, Asked]
    origins: list[str]
    calibrated_at: str


@dataclass(frozen=True)
class Lessons:
    """What is known at one instant, as pairs by head: to learn from, and of the later origin to calibrate on."""

    learned: dict[str, Asked]
    later: dict[str, Asked]
    origins: list[str]
    calibrated_at: str


@dataclass
class Learner:
    """Histories, and what was counted and asked of them at each origin: every origin is visited once."""

    histories: Histories
    heads: tuple[str, ...]
    horizon_days: float
    rule: OriginsConfig
    first_event: datetime
    seed: int
    threads: int
    lightgbm: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[str, float], None] = lambda message, fraction: None
    _thinned: dict[tuple[int, str], Asked] = field(default_factory=dict)
    _whole: dict[tuple[int, str], Asked] = field(default_factory=dict)
    _known: dict[int, Known] = field(default_factory=dict)

    def grid_before(self, instant: datetime) -> datetime:
        """The last origin whose labels are known at ``instant``."""
        latest = instant - timedelta(days=self.horizon_days)
        return latest - (latest - MONDAY) % timedelta(days=self.rule.every_days)

    def fit(self, known_until: datetime, seeds: Sequence[int] = ()) -> Fitted:
        """Fit every head to what is known at ``known_until``, and grow its booster again from each of ``seeds``."""
        lessons, fitted = self.lessons(known_until), {}
        for head in self.heads:
            self.progress(f"learning {head}", 0.0)
            learned, later = lessons.learned[head], lessons.later[head]
            fitted[head] = fit_head(learned, later, self.seed, self.threads, self.lightgbm, seeds)
        return Fitted(fitted, lessons.later, lessons.learned, lessons.origins, lessons.calibrated_at)

    def lessons(self, known_until: datetime) -> Lessons:
        """The pairs to learn from and to calibrate on, no label later than ``known_until``.

        Raises
        ------
        TrainingError
            When the history is too short for a calibration origin and one to learn from.
        """
        calibrate = self.grid_before(known_until)
        last = self.grid_before(calibrate)
        origins = [last - timedelta(days=self.rule.every_days * k) for k in reversed(range(self.rule.most))]
        origins = [at for at in origins if at >= self.first_event + timedelta(days=self.rule.warm_up_days)]
        if not origins:
            raise TrainingError(
                "the history is too short to learn and to calibrate interests",
                zh=f"历史太短，无法学习并校准兴趣：截至 {known_until:%Y-%m-%d} "
                f"只有 {(known_until - self.first_event).days} 天",
                got=f"{(known_until - self.first_event).days} days until {known_until:%Y-%m-%d}",
                expected=f"at least {2 * self.horizon_days + self.rule.warm_up_days + 2 * self.rule.every_days:.0f}",
                run="userops ingest SOURCE --data older-files",
            )
        learned = {head: Asked.joined([self.asked(at, head, sample=True) for at in origins]) for head in self.heads}
        later = {head: self.asked(calibrate, head, sample=False) for head in self.heads}
        return Lessons(learned, later, [f"{at:%Y-%m-%d}" for at in origins], f"{calibrate:%Y-%m-%d}")

    def asked(self, origin: datetime, head: str, sample: bool) -> Asked:
        """The pairs at ``origin``; a ``sample`` keeps purchases and some of the rest."""
        at = us(origin)
        kept = self._thinned if sample else self._whole
        if (at, head) not in kept:
            self.progress(f"{origin:%Y-%m-%d}", 0.0)
            known, users = self.known(origin), self.users(origin)
            self._whole.clear()
            rng = np.random.default_rng([self.seed, at // 10**6])
            for one in self.heads:
                whole = ask(self.histories, known, one, self.horizon_days, users, rng)
                self._thinned[at, one] = whole.thinned(NEGATIVES, rng)
                if not sample:  # the whole is large, and only the calibration at hand needs it
                    self._whole[at, one] = whole
        return kept[at, head]

    def known(self, origin: datetime) -> Known:
        """The statistics at ``origin``; those of the last one asked for are kept."""
        at = us(origin)
        if at not in self._known:
            self._known.clear()
            self._known[at] = known_at(self.histories, at, self.heads, self.seed)
        return self._known[at]

    def users(self, origin: datetime, most: int = MOST_USERS) -> Ints:
        """Positions, rising, of at most ``most`` users with a line at or before ``origin``."""
        seen = np.flatnonzero(self.histories.ends(us(origin)) > self.histories.start[:-1])
        if len(seen) <= most:
            return seen
        return np.sort(np.random.default_rng([self.seed, us(origin) // 10**6]).choice(seen, most, replace=False))
