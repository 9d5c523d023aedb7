"""From rows to a calibrated booster: fit on the past, calibrate on what the fit has not seen, refit on everything.

The order of time is kept throughout. The calibration folds are the latest origins; a fold's booster learns only from
rows whose label window is over when the fold begins, as it would have been on that day. The number of trees is the one
that served the folds best. The booster that serves is then refitted on all rows, because the latest months matter most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs.errors import TrainingError
from training.calibrate import Platt, fit_platt
from training.stack import Family, Rows

__all__ = ["DEFAULTS", "Fitted", "fit", "raw_scores"]

Floats = NDArray[np.float64]

DEFAULTS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.04,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 127,
    # The same data and seed give the same bytes, on any number of threads.
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
TREES = 100
FOLDS = 2
LEAST_ROWS = 200
MOST_ROWS = 20_000


@dataclass(frozen=True)
class Fitted:
    """A booster, its calibrator, and how they came about."""

    family: Family
    booster: lgb.Booster
    platt: Platt
    log: dict[str, Any]

    def probability(self, x: Floats, horizon: float | None) -> Floats:
        """Calibrated probability; ``x`` carries the horizon as its last column where the family has one."""
        key = 0.0 if horizon is None else horizon
        margin = self.platt.slope * raw_scores(self.booster, x) + self.platt.intercepts[key]
        probability: Floats = 1 / (1 + np.exp(-margin))
        return probability


def fit(
    rows: Rows,
    family: Family,
    features: Sequence[str],
    seed: int,
    threads: int,
    overrides: Mapping[str, Any] | None = None,
) -> Fitted:
    """Fit ``family`` on ``rows``; the log says which rows taught and which chose the number of trees.

    Raises
    ------
    TrainingError
        When there are fewer than 200 rows or only one kind of label.
    """
    if len(rows) < LEAST_ROWS or not 0 < rows.y.mean() < 1:
        raise TrainingError(
            f"{family.name}: not enough to learn from",
            got=f"{len(rows)} rows, {rows.y.sum():.0f} positive",
            expected=f"at least {LEAST_ROWS} rows of both kinds",
            because="the history is shorter than warm-up plus horizon, or nobody is in the cohort",
            run="userops status",
        )
    rows = _sampled(rows, seed)
    params = {**DEFAULTS, "seed": seed, "num_threads": threads, **(overrides or {})}
    folds = _folds(rows)
    raw, trees = _cross_fit(rows, folds, family, features, params)
    judged = np.concatenate([fold for _, fold in folds])
    platt = fit_platt(raw, rows.y[judged], np.nan_to_num(rows.horizon[judged]), family.direction)
    booster, _ = _boost(rows, family, features, params, trees)
    log = {
        "rows": len(rows),
        "positives": int(rows.y.sum()),
        "users": len(set(rows.user)),
        "origins": [str(at)[:10] for at in np.unique(rows.as_of)],
        "trees": trees,
        "calibration_rows": len(judged),
        "calibration_origins": [str(at)[:10] for at in np.unique(rows.as_of[judged])],
        "params": {k: v for k, v in params.items() if k != "num_threads"},
        "slope": platt.slope,
    }
    return Fitted(family, booster, platt, log)


def raw_scores(booster: lgb.Booster, x: Floats, trees: int = -1) -> Floats:
    """The booster's margins in log-odds."""
    return np.asarray(booster.predict(x, raw_score=True, num_iteration=trees), dtype=np.float64)


def _sampled(rows: Rows, seed: int) -> Rows:
    if len(rows) <= MOST_ROWS:
        return rows
    return rows.where(np.random.default_rng(seed).random(len(rows)) < MOST_ROWS / len(rows))


def _ends(rows: Rows) -> NDArray[np.datetime64]:
    """When each row's label was known; a calendar month's label at most 62 days after its origin."""
    days = np.where(np.isnan(rows.horizon), 62.0, rows.horizon)
    ends: NDArray[np.datetime64] = rows.as_of + (days * 86_400_000_000).astype("timedelta64[us]")
    return ends


def _folds(rows: Rows) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """(learn, judge) row numbers; folds are runs of late origins, and a fold learns what was known when it began."""
    origins = np.unique(rows.as_of)
    ends = _ends(rows)
    found = []
    for block in np.array_split(origins[len(origins) // 3 :], FOLDS):
        if len(block) == 0:
            continue
        learn = np.flatnonzero(ends <= block[0])
        judge = np.flatnonzero((rows.as_of >= block[0]) & (rows.as_of <= block[-1]))
        if len(learn) >= LEAST_ROWS and 0 < rows.y[learn].mean() < 1:
            found.append((learn, judge))
    if not found:
        # Too short a history for a fold in time order: every fourth user judges instead of a later period.
        _, codes = np.unique(rows.user.astype(str), return_inverse=True)
        found.append((np.flatnonzero(codes % 4 != 0), np.flatnonzero(codes % 4 == 0)))
    return found


def _cross_fit(
    rows: Rows,
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
    family: Family,
    features: Sequence[str],
    params: Mapping[str, Any],
) -> tuple[Floats, int]:
    losses = np.zeros(TREES)
    boosters = []
    for learn, judge in folds:
        booster, per_tree = _boost(_at(rows, learn), family, features, params, TREES, _at(rows, judge))
        losses += len(judge) * per_tree
        boosters.append(booster)
    trees = int(np.argmin(losses)) + 1
    scores = [raw_scores(b, rows.x[judge], trees) for b, (_, judge) in zip(boosters, folds, strict=True)]
    return np.concatenate(scores), trees


def _at(rows: Rows, numbers: NDArray[np.intp]) -> Rows:
    mask = np.zeros(len(rows), dtype=bool)
    mask[numbers] = True
    return rows.where(mask)


def _boost(
    rows: Rows,
    family: Family,
    features: Sequence[str],
    params: Mapping[str, Any],
    trees: int,
    judged: Rows | None = None,
) -> tuple[lgb.Booster, Floats]:
    """A booster of ``trees``, and the log-loss of ``judged`` after each of them."""
    names = [*features, *(["horizon_days"] if family.horizons else [])]
    constraints = [0] * len(features) + ([family.direction] if family.horizons else [])
    dataset = lgb.Dataset(rows.x, rows.y, feature_name=names)
    losses: dict[str, dict[str, list[float]]] = {}
    booster = lgb.train(
        {**params, "monotone_constraints": constraints},
        dataset,
        num_boost_round=trees,
        valid_sets=[] if judged is None else [lgb.Dataset(judged.x, judged.y, reference=dataset)],
        valid_names=[] if judged is None else ["judged"],
        callbacks=[] if judged is None else [lgb.record_evaluation(losses)],
    )
    return booster, np.array(losses["judged"]["binary_logloss"] if losses else [])
