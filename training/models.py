"""From rows to a calibrated booster: the level knows the season, trees know the users, intercepts join the two.

1. The level (`training.level`) is fitted to all rows: smooth in the user's covariates, explicit in the calendar.
2. One booster is trained on rows stacked over origins and horizons, each starting from the level of its own calendar
   window, so that the trees explain users and not seasons.
3. The slope of the calibrator comes from rows that no fit has seen: the whole procedure is repeated as of two earlier
   origins and judged on what followed them. The intercepts make the mean over today's users equal the level's forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from configs.errors import TrainingError
from training.calibrate import Platt, fit_slope, match_means
from training.level import Level, Windows, covariates, fit_level
from training.stack import Family, Rows

__all__ = ["DEFAULTS", "Fitted", "fit", "raw_scores"]

Floats = NDArray[np.float64]

DEFAULTS: dict[str, Any] = {
    "objective": "binary",
    # The level says where a row starts.
    "boost_from_average": False,
    "learning_rate": 0.04,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 127,
    # The same data and seed give the same bytes, on any number of threads.
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
TREES = 250
MOST_ROWS = 80_000
LEVEL_ROWS = 40_000
FOLD_ROWS = 30_000
LEAST_ROWS = 200


@dataclass(frozen=True)
class Fitted:
    """A booster, its calibrator, and how they came about."""

    family: Family
    booster: lgb.Booster
    platt: Platt
    log: dict[str, Any]

    def probability(self, x: Floats, horizon: float | None) -> Floats:
        """Calibrated probability; ``x`` carries the horizon as its last column where the family has one."""
        return self.platt.probability(raw_scores(self.booster, x), horizon or 0.0)


@dataclass(frozen=True)
class _Core:
    booster: lgb.Booster
    level: Level


def fit(
    rows: Rows,
    today: Rows,
    family: Family,
    features: Sequence[str],
    start: float,
    seed: int,
    threads: int,
    overrides: Mapping[str, Any] | None = None,
    slope: float | None = None,
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
    slope
        The calibrator's slope, when it is known from an earlier fit of the same procedure.

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
    if slope is None:
        slope, folds = _slope(rows, family, features, params, start)
    forecast = core.level.probability(_covariates(today, family, features, start), _windows(today))
    platt = match_means(raw_scores(core.booster, today.x), forecast, today.horizon, slope, family.direction)
    log = {
        "rows": len(rows),
        "positives": int(rows.y.sum()),
        "users": len(set(rows.user)),
        "origins": len(np.unique(rows.as_of)),
        "trees": TREES,
        "slope": slope,
        "slope_folds": folds,
        "forecast_mean": {f"{h:g}": float(forecast[today.horizon == h].mean()) for h in np.unique(today.horizon)},
        "params": {k: v for k, v in params.items() if k != "num_threads"},
    }
    return Fitted(family, core.booster, platt, log)


def raw_scores(booster: lgb.Booster, x: Floats) -> Floats:
    """The booster's margins in log-odds."""
    return np.asarray(booster.predict(x, raw_score=True), dtype=np.float64)


def _fit_core(
    rows: Rows, today: Rows, family: Family, features: Sequence[str], params: Mapping[str, Any], start: float
) -> _Core:
    taught = rows.sampled(LEVEL_ROWS, params["seed"])
    ahead = float(today.as_of.max())
    level = fit_level(
        _covariates(taught, family, features, start),
        taught.y,
        _windows(taught),
        ahead,
        float(today.end.max()) - ahead,
    )
    offset = level.offset(_windows(rows)) + float(logit(rows.y.mean()))
    names = [*features, *(["horizon_days"] if family.horizons else [])]
    constraints = [0] * len(features) + ([family.direction] if family.horizons else [])
    dataset = lgb.Dataset(rows.x, rows.y, init_score=offset, feature_name=names)
    booster = lgb.train({**params, "monotone_constraints": constraints}, dataset, num_boost_round=TREES)
    return _Core(booster, level)


def _slope(
    rows: Rows, family: Family, features: Sequence[str], params: Mapping[str, Any], start: float
) -> tuple[float, list[str]]:
    """How far raw scores should be stretched, judged on two past origins that the fits before them never saw."""
    origins = np.unique(rows.as_of)
    raws: list[Floats] = []
    labels: list[Floats] = []
    groups: list[NDArray[np.int_]] = []
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
        raws.append(raw_scores(core.booster, present.x))
        labels.append(present.y)
        groups.append(np.full(len(present), len(groups)))
        used.append(f"{len(past)} rows before, {len(present)} at {np.datetime64(int(origin), 'D')}, {horizon:g} days")
    if not raws:
        return 1.0, used
    return fit_slope(np.concatenate(raws), np.concatenate(labels), np.concatenate(groups)), used


def _windows(rows: Rows) -> Windows:
    return Windows(rows.start, rows.end)


def _covariates(rows: Rows, family: Family, features: Sequence[str], start: float) -> Floats:
    return covariates(rows.x, features, family.label.startswith("repurchase"), rows.as_of - start)
