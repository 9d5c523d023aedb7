"""What a fit needs before any tree is grown: rows, levels fitted to them, and two past origins treated the same way.

No parameter of LightGBM changes any of it. A search prepares each origin once, and every trial learns from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from configs.errors import TrainingError
from training.stack import Family, Rows
from training.teacher import Teacher, fit_teacher

__all__ = ["FOLD_ROWS", "Fold", "Prepared", "Taught", "prepare"]

Floats = NDArray[np.float64]

MOST_ROWS = 80_000
LEVEL_ROWS = 40_000
FOLD_ROWS = 30_000
LEAST_ROWS = 200
# Of each horizon's users of today, so many show the student what the teacher thinks of them.
TODAY_ROWS = 8_000


@dataclass(frozen=True)
class Taught:
    """Rows to learn labels from; ``offset`` is where each starts, in log-odds; the teacher learned from ``shown``."""

    rows: Rows
    shown: Rows
    teacher: Teacher
    offset: Floats


@dataclass(frozen=True)
class Fold:
    """A past origin: ``past`` was known then, ``present`` followed, and ``margin`` is what the level thought of it."""

    past: Taught
    present: Rows
    margin: Floats
    log: str


@dataclass(frozen=True)
class Prepared:
    """All of a fit that no parameter of LightGBM changes: searched, it is prepared once and learned from many times.

    ``margin`` is what the level thinks of ``today``; ``log`` counts the rows.
    """

    family: Family
    features: tuple[str, ...]
    seed: int
    today: Rows
    now: Taught
    margin: Floats
    folds: tuple[Fold, ...]
    log: Mapping[str, int]

    @property
    def columns(self) -> list[str]:
        """The booster's columns."""
        return [*self.features, *(["horizon_days"] if self.family.horizons else [])]

    @cached_property
    def lesson(self) -> tuple[Floats, Floats, Floats]:
        """Columns, margins and offsets of the rows the teacher learned from and of some of today's, for its student."""
        today, shown, teacher = self.today, self.now.shown, self.now.teacher
        rng = np.random.default_rng(self.seed)
        some = rng.random(len(today)) < TODAY_ROWS * len(np.unique(today.horizon)) / len(today)
        ahead = today.where(some)
        return (
            np.concatenate([shown.x, ahead.x]),
            np.concatenate([teacher.margin(shown), self.margin[some]]),
            np.concatenate([teacher.offset(shown), teacher.offset(ahead)]),
        )


def prepare(
    rows: Rows, today: Rows, family: Family, features: Sequence[str], start: float, seed: int, folds: bool = True
) -> Prepared:
    """Draw rows, fit the levels, and ask them.

    Parameters
    ----------
    rows
        Labelled rows; every window is over.
    today
        The cohort at the instant from which the model is to look ahead, at every horizon, unlabelled.
    start
        The day of the first event, in days since 1970: how long a history each origin looks back on.
    folds
        Whether two past origins are prepared as well, to learn the blend from.

    Raises
    ------
    TrainingError
        When there are fewer than 200 rows or only one kind of label.
    """
    if len(rows) < LEAST_ROWS or not 0 < rows.y.mean() < 1 or len(today) == 0:
        raise TrainingError(
            f"{family.name}: not enough to learn from",
            zh=f"{family.name} 数据不足，无法学习：{len(rows)} 行，其中 {rows.y.sum():.0f} 行发生，"
            f"可预测的用户 {len(today)} 名；至少需要 {LEAST_ROWS} 行，且两种结果都有。"
            "历史可能短于预热期加预测期，或该人群中没有用户",
            got=f"{len(rows)} rows, {rows.y.sum():.0f} positive, {len(today)} to look ahead for",
            expected=f"at least {LEAST_ROWS} rows of both kinds",
            because="the history is shorter than warm-up plus horizon, or nobody is in the cohort",
            run="userops status",
        )
    now = _taught(rows.sampled(MOST_ROWS, seed), today, family, features, start, seed)
    log = {
        "rows": len(rows),
        "positives": int(rows.y.sum()),
        "users": len(set(rows.user)),
        "origins": len(np.unique(rows.as_of)),
    }
    past = tuple(_folds(rows, family, features, start, seed)) if folds else ()
    return Prepared(family, tuple(features), seed, today, now, now.teacher.margin(today), past, log)


def _taught(rows: Rows, today: Rows, family: Family, features: Sequence[str], start: float, seed: int) -> Taught:
    shown = rows.sampled(LEVEL_ROWS, seed)
    teacher = fit_teacher(shown, today, family, features, start, seed)
    return Taught(rows, shown, teacher, teacher.offset(rows) + float(logit(rows.y.mean())))


def _folds(rows: Rows, family: Family, features: Sequence[str], start: float, seed: int) -> Iterator[Fold]:
    """Two past origins; no fit has seen what followed them."""
    origins = np.unique(rows.as_of)
    for horizon in list(np.unique(rows.horizon))[1:3] or [float(rows.horizon.max())]:
        candidates = np.unique(rows.as_of[rows.horizon == horizon])
        if len(candidates) == 0:
            continue
        origin = float(candidates[-1])
        past = rows.where(rows.end <= origin)
        present = rows.where((rows.as_of == origin) & (rows.horizon == horizon))
        if len(past) < max(LEAST_ROWS, 10 * len(features)) or len(origins) < 4 or not 0 < past.y.mean() < 1:
            continue
        known = _taught(past.sampled(FOLD_ROWS, seed), present, family, features, start, seed)
        log = f"{len(past)} rows before, {len(present)} at {np.datetime64(int(origin), 'D')}, {horizon:g} days"
        yield Fold(known, present, known.teacher.margin(present), log)
