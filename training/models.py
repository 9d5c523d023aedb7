"""From rows to a calibrated booster: a level knows the season, trees know the users, intercepts join the two.

1. The level (`training.level`) is fitted to all rows: smooth in the user's covariates, among them what a mixture of
   customers (`training.npmle`) expects of each, and explicit in the calendar.
2. One booster is trained on rows stacked over origins and horizons, each starting from the level of its own calendar
   window, so that the trees explain users and not seasons.
3. The whole procedure is repeated as of two earlier origins and judged on what followed them. From these rows, which no
   fit has seen, come the slope of the calibrator and the weight of the level's opinion of each user. Where that is a
   tenth or more, a second booster learns the level, and the two are merged into one (`training.boost`).
4. The intercepts make the mean over today's users equal the level's forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from configs.errors import TrainingError
from training.boost import DEFAULTS, STUDENT, learn_labels, learn_margin, merge, raw_scores
from training.calibrate import Blend, Platt, fit_blend, match_means
from training.stack import Family, Rows
from training.teacher import Teacher, fit_teacher

__all__ = ["DEFAULTS", "Fitted", "fit", "raw_scores"]

Floats = NDArray[np.float64]

MOST_ROWS = 80_000
LEVEL_ROWS = 40_000
FOLD_ROWS = 30_000
LEAST_ROWS = 200
# Of each horizon's users of today, so many show the student what the teacher thinks of them.
TODAY_ROWS = 8_000
# A smaller say of the level is not worth a second booster.
LEAST_WEIGHT = 0.1


@dataclass(frozen=True)
class Fitted:
    """A booster, its calibrator, and how they came about; ``blend`` is what the past said, ``teacher`` the level."""

    family: Family
    booster: lgb.Booster
    platt: Platt
    blend: Blend
    teacher: Teacher
    log: dict[str, Any]

    def probability(self, x: Floats, horizon: float | None) -> Floats:
        """Calibrated probability; ``x`` carries the horizon as its last column where the family has one."""
        return self.platt.probability(raw_scores(self.booster, x), horizon or 0.0)


@dataclass(frozen=True)
class _Core:
    booster: lgb.Booster
    teacher: Teacher
    taught: Rows


def fit(
    rows: Rows,
    today: Rows,
    family: Family,
    features: Sequence[str],
    start: float,
    seed: int,
    threads: int,
    overrides: Mapping[str, Any] | None = None,
    blend: Blend | None = None,
) -> Fitted:
    """Fit ``family``.

    Parameters
    ----------
    rows
        Labelled rows; every window is over.
    today
        The cohort at the instant from which the model is to look ahead, at every horizon, unlabelled.
    start
        The day of the first event, in days since 1970: how long a history each origin looks back on.
    blend
        The calibrator's slope and the level's weight, when they are known from an earlier fit of the same procedure.

    Raises
    ------
    TrainingError
        When there are fewer than 200 rows or only one kind of label.
    """
    if len(rows) < LEAST_ROWS or not 0 < rows.y.mean() < 1 or len(today) == 0:
        raise TrainingError(
            f"{family.name}: not enough to learn from",
            got=f"{len(rows)} rows, {rows.y.sum():.0f} positive, {len(today)} to look ahead for",
            expected=f"at least {LEAST_ROWS} rows of both kinds",
            because="the history is shorter than warm-up plus horizon, or nobody is in the cohort",
            run="userops status",
        )
    params = {**DEFAULTS, "seed": seed, "num_threads": threads, **(overrides or {})}
    core = _fit_core(rows.sampled(MOST_ROWS, seed), today, family, features, params, start)
    folds: list[str] = []
    if blend is None:
        blend, folds = _blend(rows, family, features, params, start)
    margin = core.teacher.margin(today)
    forecast = np.asarray(expit(margin), dtype=np.float64)
    booster = core.booster
    if blend.weight >= LEAST_WEIGHT:
        student = _fit_student(core, today, margin, family, features, params)
        booster = merge([booster, student], [1 - blend.weight, blend.weight])
    platt = match_means(raw_scores(booster, today.x), forecast, today.horizon, blend.slope, family.direction)
    log = {
        "rows": len(rows),
        "positives": int(rows.y.sum()),
        "users": len(set(rows.user)),
        "origins": len(np.unique(rows.as_of)),
        "trees": booster.num_trees(),
        "slope": blend.slope,
        "level_weight": blend.weight,
        "weight_losses": [round(loss, 6) for loss in blend.losses],
        "folds": folds,
        "mixture": core.teacher.mixture.log,
        "forecast_mean": {f"{h:g}": float(forecast[today.horizon == h].mean()) for h in np.unique(today.horizon)},
        "student": STUDENT if blend.weight >= LEAST_WEIGHT else None,
        "params": {k: v for k, v in params.items() if k != "num_threads"},
    }
    return Fitted(family, booster, platt, blend, core.teacher, log)


def _fit_core(
    rows: Rows, today: Rows, family: Family, features: Sequence[str], params: Mapping[str, Any], start: float
) -> _Core:
    taught = rows.sampled(LEVEL_ROWS, params["seed"])
    teacher = fit_teacher(taught, today, family, features, start, params["seed"])
    offset = teacher.offset(rows) + float(logit(rows.y.mean()))
    booster = learn_labels(rows.x, rows.y, offset, _columns(family, features), family.direction, params)
    return _Core(booster, teacher, taught)


def _fit_student(
    core: _Core, today: Rows, margin: Floats, family: Family, features: Sequence[str], params: Mapping[str, Any]
) -> lgb.Booster:
    """A booster of what the teacher thinks of the rows it learned from, and of today's users."""
    rng = np.random.default_rng(params["seed"])
    shown = rng.random(len(today)) < TODAY_ROWS * len(np.unique(today.horizon)) / len(today)
    ahead = today.where(shown)
    return learn_margin(
        np.concatenate([core.taught.x, ahead.x]),
        np.concatenate([core.teacher.margin(core.taught), margin[shown]]),
        np.concatenate([core.teacher.offset(core.taught), core.teacher.offset(ahead)]),
        _columns(family, features),
        family.direction,
        params,
    )


def _blend(
    rows: Rows, family: Family, features: Sequence[str], params: Mapping[str, Any], start: float
) -> tuple[Blend, list[str]]:
    """The level's weight and the slope, judged on two past origins that the fits before them never saw."""
    origins = np.unique(rows.as_of)
    found: list[tuple[Floats, Floats, Floats]] = []
    used: list[str] = []
    for horizon in list(np.unique(rows.horizon))[1:3] or [float(rows.horizon.max())]:
        candidates = np.unique(rows.as_of[rows.horizon == horizon])
        if len(candidates) == 0:
            continue
        origin = float(candidates[-1])
        past = rows.where(rows.end <= origin)
        present = rows.where((rows.as_of == origin) & (rows.horizon == horizon))
        if len(past) < max(LEAST_ROWS, 10 * len(features)) or len(origins) < 4 or not 0 < past.y.mean() < 1:
            continue
        core = _fit_core(past.sampled(FOLD_ROWS, params["seed"]), present, family, features, params, start)
        found.append((raw_scores(core.booster, present.x), core.teacher.margin(present), present.y))
        used.append(f"{len(past)} rows before, {len(present)} at {np.datetime64(int(origin), 'D')}, {horizon:g} days")
    if not found:
        return Blend(0.0, 1.0), used
    trees, level, label = (np.concatenate(columns) for columns in zip(*found, strict=True))
    group = np.repeat(np.arange(len(found)), [len(one[2]) for one in found])
    return fit_blend(trees, level, label, group), used


def _columns(family: Family, features: Sequence[str]) -> list[str]:
    return [*features, *(["horizon_days"] if family.horizons else [])]
