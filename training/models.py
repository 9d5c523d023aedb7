"""From rows to a calibrated booster: a level knows the season, trees know the users, intercepts join the two.

What no parameter of LightGBM changes is prepared first (`training.prepare`), so that a search does it once.

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
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from training.boost import DEFAULTS, STUDENT, learn_labels, learn_margin, merge, raw_scores
from training.calibrate import Blend, Platt, fit_blend, match_means
from training.prepare import FOLD_ROWS, Prepared, Taught, prepare
from training.stack import Family, Rows
from training.teacher import Teacher

__all__ = ["DEFAULTS", "FOLD_ROWS", "Fitted", "fit", "learn", "raw_scores"]

Floats = NDArray[np.float64]

# A smaller say of the level is not worth a second booster.
LEAST_WEIGHT = 0.1
# From another seed so many rows are enough to see which reasons stay; all would make a training a quarter longer.
AGAIN_ROWS = 20_000


@dataclass(frozen=True)
class Fitted:
    """A booster, its calibrator, and how they came about; ``blend`` is what the past said, ``teacher`` the level.

    ``again`` holds the same booster grown from other seeds: how much of what it says is chance.
    """

    family: Family
    booster: lgb.Booster
    platt: Platt
    blend: Blend
    teacher: Teacher
    log: dict[str, Any]
    again: Mapping[int, lgb.Booster] = field(default_factory=dict)

    def probability(self, x: Floats, horizon: float | None) -> Floats:
        """Calibrated probability; ``x`` carries the horizon as its last column where the family has one."""
        return self.platt.probability(raw_scores(self.booster, x), horizon or 0.0)


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
    seeds: Sequence[int] = (),
) -> Fitted:
    """`prepare` and `learn` at once."""
    prepared = prepare(rows, today, family, features, start, seed, folds=blend is None)
    return learn(prepared, threads, overrides, blend, seeds)


def learn(
    prepared: Prepared,
    threads: int,
    overrides: Mapping[str, Any] | None = None,
    blend: Blend | None = None,
    seeds: Sequence[int] = (),
) -> Fitted:
    """Learn labels, join trees and level, calibrate.

    Parameters
    ----------
    overrides
        LightGBM parameters in the place of `DEFAULTS`, and ``trees`` in the place of `TREES`.
    blend
        The calibrator's slope and the level's weight, when they are known from an earlier fit of the same procedure;
        learned from the folds when absent.
    seeds
        From each of which to grow the booster again, on `AGAIN_ROWS` other rows: same parameters and number of trees.
    """
    family, today = prepared.family, prepared.today
    params = {**DEFAULTS, "seed": prepared.seed, "num_threads": threads, **(overrides or {})}
    booster = _learn_labels(prepared, prepared.now, params)
    if blend is None:
        blend = _blend(prepared, params)
    forecast = np.asarray(expit(prepared.margin), dtype=np.float64)
    if blend.weight >= LEAST_WEIGHT:
        student = learn_margin(*prepared.lesson, prepared.columns, family.direction, params)
        booster = merge([booster, student], [1 - blend.weight, blend.weight])
    again = {seed: _again(prepared, {**params, "seed": seed}, blend.weight) for seed in seeds}
    platt = match_means(raw_scores(booster, today.x), forecast, today.horizon, blend.slope, family.direction)
    log = {
        **prepared.log,
        "trees": booster.num_trees(),
        "slope": blend.slope,
        "level_weight": blend.weight,
        "weight_losses": [round(loss, 6) for loss in blend.losses],
        "folds": [fold.log for fold in prepared.folds],
        "mixture": prepared.now.teacher.mixture.log,
        "forecast_mean": {f"{h:g}": float(forecast[today.horizon == h].mean()) for h in np.unique(today.horizon)},
        "student": STUDENT if blend.weight >= LEAST_WEIGHT else None,
        # ``trees`` above counts those of the student as well.
        "params": {k: v for k, v in params.items() if k not in ("num_threads", "trees")},
    }
    return Fitted(family, booster, platt, blend, prepared.now.teacher, log, again)


def _blend(prepared: Prepared, params: Mapping[str, Any]) -> Blend:
    """The level's weight and the slope, judged on the folds."""
    if not prepared.folds:
        return Blend(0.0, 1.0)
    trees = [raw_scores(_learn_labels(prepared, fold.past, params), fold.present.x) for fold in prepared.folds]
    level = np.concatenate([fold.margin for fold in prepared.folds])
    label = np.concatenate([fold.present.y for fold in prepared.folds])
    group = np.repeat(np.arange(len(trees)), [len(one) for one in trees])
    return fit_blend(np.concatenate(trees), level, label, group)


def _learn_labels(prepared: Prepared, taught: Taught, params: Mapping[str, Any]) -> lgb.Booster:
    rows, direction = taught.rows, prepared.family.direction
    return learn_labels(rows.x, rows.y, taught.offset, prepared.columns, direction, params)


def _again(prepared: Prepared, params: Mapping[str, Any], weight: float) -> lgb.Booster:
    """The booster from another seed, on rows that the seed draws: as if the same had been learned on another day."""
    rng, direction = np.random.default_rng(int(params["seed"])), prepared.family.direction
    taught, lesson = prepared.now, prepared.lesson if weight >= LEAST_WEIGHT else None
    some = rng.random(len(taught.rows)) < AGAIN_ROWS / len(taught.rows)
    rows = taught.rows.where(some)
    booster = learn_labels(rows.x, rows.y, taught.offset[some], prepared.columns, direction, params)
    if lesson is None:
        return booster
    shown = rng.random(len(lesson[0])) < AGAIN_ROWS / len(lesson[0])
    x, margin, offset = (part[shown] for part in lesson)
    student = learn_margin(x, margin, offset, prepared.columns, direction, params)
    return merge([booster, student], [1 - weight, weight])
