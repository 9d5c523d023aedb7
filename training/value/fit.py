"""Expected spend = P(a purchase in the horizon) x mean amount of those who buy, both from boosters that serve.

1. The probability is the repurchase family of `training.models`: horizons stacked, monotone, level forecast.
2. The amount comes from a smooth model (`training.value.amounts`) and, where two past origins show that they know more,
   from trees that start from it.
3. A booster, the student, reproduces the sum of both from the user vector and the horizon, monotone in the horizon. Its
   constants, one per horizon, make the total of today's customers the one that the smooth model forecasts, corrected
   by half of what it missed at the two past origins; they do not fall with the horizon.

So expected spend never falls with the horizon: a product of two factors that do not. The ratio of an amount to its mean
has one distribution for all, that of the training rows; with the probability it gives every quantile of the spend, of
which the middle one, ``typical``, is 0 for whoever is more likely not to buy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from configs.errors import TrainingError
from serving.scoring.calibrator import Sigmoid
from serving.scoring.value.forecast import LEVELS, SpendForecast
from training.boost import DEFAULTS, STUDENT, raw_scores
from training.calibrate import Blend
from training.models import Fitted, fit
from training.prepare import FOLD_ROWS
from training.stack import Family, Rows
from training.teacher import fit_teacher
from training.value.amounts import Amounts, Customers, fit_amounts, fit_customers

__all__ = ["FittedValue", "fit_value"]

Floats = NDArray[np.float64]

AMOUNT_ROWS = 40_000
LEAST_BUYERS = 200
TREES = 120
# The student follows a smooth function of few columns closely: more trees than the one that learns probabilities.
FOLLOW: dict[str, Any] = {**STUDENT, "objective": "regression", "boost_from_average": True, "max_bin": 255}
FOLLOW_TREES = 300
TREE_PARAMS: dict[str, Any] = {"objective": "gamma", "min_data_in_leaf": 100, "learning_rate": 0.04}
# With half of the say the totals were as good on the dates that were chosen on, and the order of customers worse.
WEIGHTS = (0.0, 0.25)
# Differences in gamma deviance below this are noise.
ALIKE = 1e-3


@dataclass(frozen=True)
class FittedValue:
    """A probability, a booster of log-amounts with one constant per horizon, and how amounts vary around their means.

    ``ratios`` are the 0, 1, ..., 100 % quantiles of log(amount / mean amount).
    """

    chance: Fitted
    booster: lgb.Booster
    constants: dict[float, float]
    ratios: Floats
    log: dict[str, Any] = field(repr=False)

    def forecast(self, x: Floats, horizon: float) -> SpendForecast:
        """What each row of ``x`` spends within the horizon, which is its last column: bit for bit as it is served."""
        platt = self.chance.platt
        p = Sigmoid(platt.slope, platt.intercepts[horizon])(raw_scores(self.chance.booster, x))
        amount = np.exp(raw_scores(self.booster, x) + self.constants[horizon])
        return SpendForecast(p, np.asarray(amount, dtype=np.float64), self.ratios)

    def expected(self, x: Floats, horizon: float) -> Floats:
        """The mean spend within the horizon, shape (n,)."""
        return self.forecast(x, horizon).expected

    def quantile(self, x: Floats, horizon: float, level: float = 0.5) -> Floats:
        """The spend that is not exceeded with probability ``level``, shape (n,); the typical one at 0.5."""
        return self.forecast(x, horizon).quantile(level)


@dataclass(frozen=True)
class _Known:
    """What past origins said: how much the trees may say, and by how much totals were missed, as a logarithm."""

    weight: float = 0.0
    missed: float = 0.0
    folds: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Core:
    customers: Customers
    amounts: Amounts
    trees: lgb.Booster
    ratio: Floats

    def margins(self, rows: Rows) -> tuple[Floats, Floats]:
        """Logs of mean amounts by the smooth model, and what the trees add to them."""
        return self.amounts.margin(self.customers.covariates(rows), rows), raw_scores(self.trees, rows.x)


def fit_value(
    rows: Rows,
    amount: Floats,
    today: Rows,
    family: Family,
    features: Sequence[str],
    start: float,
    seed: int,
    threads: int,
    overrides: Mapping[str, Any] | None = None,
    blend: Blend | None = None,
    seeds: Sequence[int] = (),
) -> FittedValue:
    """Fit both stages; parameters as those of `models.prepare` and `models.learn`, and each row's ``amount`` spent.

    From ``seeds`` only the booster of purchases is grown again: ``chance.again``.

    Raises
    ------
    TrainingError
        When fewer than 200 rows have an amount above 0, or the family has no horizons.
    """
    if not family.horizons:
        raise TrainingError(f"{family.name}: spend is asked within a horizon", got=(), expected="horizon_days")
    bought = np.flatnonzero((rows.y > 0) & (amount > 0))
    if len(bought) < LEAST_BUYERS:
        raise TrainingError(
            "too few purchases with an amount to learn what is spent",
            zh=f"带金额的购买太少，无法学习消费金额：{len(bought)} 个窗口，至少需要 {LEAST_BUYERS} 个。"
            "数据源可能没有金额，或历史太短",
            got=len(bought),
            expected=f"at least {LEAST_BUYERS} windows with one",
            because="the source gives no amounts, or the history is short",
            run="userops status",
        )
    chance = fit(rows, today, family, features, start, seed, threads, overrides, blend, seeds)
    params = {**DEFAULTS, **TREE_PARAMS, "seed": seed, "num_threads": threads}
    known = _past(rows, amount, family, features, start, params)
    customers = fit_customers(chance.teacher, today, features)
    chosen = _some(bought, AMOUNT_ROWS, seed)
    learned = rows.where(chosen)
    ahead, until = float(today.as_of.max()), float(today.end.max())
    core = _fit_core(customers, learned, amount[chosen], ahead, until - ahead, params)
    booster, target = _student(core, known.weight, learned, today, [*features, "horizon_days"], params)
    # A purchase may cost nothing: the mean amount is that of the paid ones, times how often one is paid.
    paid = float((amount[rows.y > 0] > 0).mean())
    constants = _constants(chance, booster, today, target + known.missed + np.log(paid))
    log = {
        "chance": chance.log,
        "buyers": len(bought),
        "trees": booster.num_trees(),
        "params": {k: v for k, v in params.items() if k != "num_threads"},
        "gamma_gamma": {k: float(v) for k, v in vars(customers.amounts).items()},
        "tree_weight": known.weight,
        "missed": known.missed,
        "folds": list(known.folds),
        "paid_share": paid,
        "forecast_total": {
            f"{h:g}": float((chance.probability(x, h) * np.exp(raw_scores(booster, x) + constants[h])).sum())
            for h in family.horizons
            for x in [today.x[today.horizon == h]]
        },
    }
    return FittedValue(chance, booster, constants, np.quantile(np.log(core.ratio), LEVELS), log)


def _fit_core(
    customers: Customers, rows: Rows, amount: Floats, today: float, horizon_days: float, params: Mapping[str, Any]
) -> _Core:
    z = customers.covariates(rows)
    amounts = fit_amounts(z, amount, rows, today, horizon_days)
    margin = amounts.margin(z, rows)
    trees = lgb.train(dict(params), lgb.Dataset(rows.x, amount, init_score=margin), TREES)
    return _Core(customers, amounts, trees, amount / np.exp(margin))


def _student(
    core: _Core, weight: float, learned: Rows, today: Rows, names: Sequence[str], params: Mapping[str, Any]
) -> tuple[lgb.Booster, Floats]:
    """A booster of what the core thinks, without the calendar, and what it thinks of today's users with it."""
    shown = [part for part in (learned, today) if len(part)]
    margins = []
    for part in shown:
        smooth, trees = core.margins(part)
        margins.append(smooth + weight * trees)
    target = np.concatenate([m - core.amounts.offset(part) for m, part in zip(margins, shown, strict=True)])
    x = np.concatenate([part.x for part in shown])
    follow = {**params, **FOLLOW, "monotone_constraints": [0] * (x.shape[1] - 1) + [1]}
    return lgb.train(follow, lgb.Dataset(x, target, feature_name=list(names)), FOLLOW_TREES), margins[-1]


def _constants(chance: Fitted, booster: lgb.Booster, today: Rows, target: Floats) -> dict[float, float]:
    """One constant per horizon that makes the total of today's customers that of ``target``; none falls."""
    horizons = [float(h) for h in np.unique(today.horizon)]
    found = []
    for h in horizons:
        asked = today.horizon == h
        p = chance.probability(today.x[asked], h)
        ours = float((p * np.exp(raw_scores(booster, today.x[asked]))).sum())
        found.append(np.log(float((p * np.exp(target[asked])).sum()) / ours))
    return dict(zip(horizons, isotonic_regression(found).x.tolist(), strict=True))


def _past(
    rows: Rows, amount: Floats, family: Family, features: Sequence[str], start: float, params: Mapping[str, Any]
) -> _Known:
    """Fit as of two earlier origins and look at what followed: the trees' say, and the total that was missed."""
    seed, folds = int(params["seed"]), []
    found: list[tuple[Floats, Floats, Floats]] = []
    for horizon in family.horizons[1:3] or family.horizons:
        candidates = np.unique(rows.as_of[rows.horizon == horizon])
        if len(candidates) == 0:
            continue
        origin = float(candidates[-1])
        before = np.flatnonzero(rows.end <= origin)
        bought = before[(rows.y[before] > 0) & (amount[before] > 0)]
        now = np.flatnonzero((rows.as_of == origin) & (rows.horizon == horizon))
        buyers = now[amount[now] > 0]
        labels = rows.y[before]
        if min(len(bought), len(buyers)) < LEAST_BUYERS or not 0 < labels.mean() < 1:
            continue
        present = rows.where(now)
        teacher = fit_teacher(rows.where(_some(before, FOLD_ROWS, seed)), present, family, features, start, seed)
        chosen = _some(bought, FOLD_ROWS, seed)
        customers = fit_customers(teacher, present, features)
        core = _fit_core(customers, rows.where(chosen), amount[chosen], origin, horizon, params)
        found.append((*core.margins(rows.where(buyers)), amount[buyers]))
        folds.append(f"{len(chosen)} buyers before, {len(buyers)} after {np.datetime64(int(origin), 'D')}")
    if not found:
        return _Known()
    losses = [float(np.mean([_deviance(m + w * t, y) for m, t, y in found])) for w in WEIGHTS]
    weight = next(w for w, loss in zip(WEIGHTS, losses, strict=True) if loss <= min(losses) + ALIKE)
    missed = [float(np.log(y.sum() / np.exp(m + weight * t).sum())) for m, t, y in found]
    # As if one more origin had been forecast exactly.
    return _Known(weight, sum(missed) / (len(missed) + 1), (*folds, *(f"missed {one:+.3f}" for one in missed)))


def _deviance(margin: Floats, amount: Floats) -> float:
    """Mean gamma deviance at the best common factor, but for a constant."""
    return float(margin.mean() + np.log(np.mean(amount / np.exp(margin))))


def _some(chosen: NDArray[np.intp], most: int, seed: int) -> NDArray[np.intp]:
    if len(chosen) <= most:
        return chosen
    return np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
