"""Raw scores to probabilities: one slope for a booster, one intercept per horizon, in the order of the horizons.

How much the trees and how much the smooth level should say is judged on the same unseen rows as the slope. The level
gets as little as the evidence allows: where trees know more, such as clicks and carts, that is nothing.

One slope keeps the order of users at every horizon; ordered intercepts keep every user's probabilities in the order of
the horizons. So a longer horizon never contradicts a shorter one, whatever the data say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit

__all__ = ["Blend", "Platt", "fit_blend", "fit_slope", "match_means"]

Floats = NDArray[np.float64]

# A slope far from 1 says more about two folds than about the next month: the prior is normal around 1.
SLOPE_SD = 0.05
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
# Differences in log-loss below this are noise.
ALIKE = 5e-4


@dataclass(frozen=True)
class Platt:
    """``p = 1 / (1 + exp(-(slope * raw + intercepts[horizon])))``; horizon 0 stands for a calendar month."""

    slope: float
    intercepts: dict[float, float]

    def probability(self, raw: Floats, horizon: float) -> Floats:
        """Calibrated probabilities, shape (n,)."""
        return np.asarray(expit(self.slope * raw + self.intercepts[horizon]), dtype=np.float64)

    def at(self, horizon: float) -> dict[str, object]:
        """The calibrator of one horizon as ``model.json`` writes it."""
        return {"kind": "sigmoid", "slope": self.slope, "intercept": self.intercepts[horizon]}


@dataclass(frozen=True)
class Blend:
    """``score = slope * ((1 - weight) * trees + weight * level)``; ``losses`` are those of `WEIGHTS` on unseen rows."""

    weight: float
    slope: float
    losses: tuple[float, ...] = ()


def fit_blend(trees: Floats, level: Floats, label: Floats, group: NDArray[np.int_]) -> Blend:
    """The least weight of the level whose log-loss on unseen rows is within 0.0005 of the best, and its slope.

    Parameters
    ----------
    trees, level
        Margins in log-odds, from fits that have not seen these rows.
    label, group
        0 or 1, and the fold: each has an intercept of its own.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> level = rng.normal(size=20_000)
    >>> y = (rng.uniform(size=level.size) < 1 / (1 + np.exp(-level))).astype(float)
    >>> one = np.zeros(level.size, int)
    >>> fit_blend(level + rng.normal(size=level.size), level, y, one).weight > 0.4
    True
    >>> fit_blend(level, level + rng.normal(size=level.size), y, one).weight
    0.0
    """
    fits = [_logistic((1 - weight) * trees + weight * level, label, group) for weight in WEIGHTS]
    losses = tuple(loss for _, loss in fits)
    chosen = next(k for k, loss in enumerate(losses) if loss <= min(losses) + ALIKE)
    return Blend(WEIGHTS[chosen], fits[chosen][0], losses)


def fit_slope(raw: Floats, label: Floats, group: NDArray[np.int_]) -> float:
    """The slope of a logistic regression of ``label`` on out-of-fold ``raw``, with an intercept per ``group``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> raw = rng.normal(size=20_000)
    >>> y = (rng.uniform(size=raw.size) < 1 / (1 + np.exp(-(1.2 * raw - 1)))).astype(float)
    >>> abs(fit_slope(raw, y, np.zeros(raw.size, int)) - 1.2) < 0.05
    True
    """
    return _logistic(raw, label, group)[0]


def _logistic(raw: Floats, label: Floats, group: NDArray[np.int_]) -> tuple[float, float]:
    """Slope and mean log-loss."""
    design = np.column_stack([raw, np.eye(int(group.max()) + 1)[group]])
    precision = np.concatenate([[1 / SLOPE_SD**2], np.full(design.shape[1] - 1, 1e-3)])
    prior = np.concatenate([[1.0], np.zeros(design.shape[1] - 1)])
    theta = prior.copy()
    for _ in range(25):
        p = expit(design @ theta)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(hessian, design.T @ (label - p) - precision * (theta - prior))
        theta += step * min(1.0, 2.0 / max(float(np.abs(design @ step).max()), 1e-12))
        if np.abs(step).max() < 1e-6:
            break
    margin = design @ theta
    loss = float(np.mean(np.logaddexp(0, margin) - label * margin))
    return float(np.clip(theta[0], 0.5, 2.0)), loss


def match_means(raw: Floats, forecast: Floats, horizon: Floats, slope: float, direction: int) -> Platt:
    """Intercepts at which the mean probability of each horizon's rows equals the mean ``forecast`` for them.

    Parameters
    ----------
    raw, forecast, horizon
        Shape (n,); the horizon in days, 0 where there is none.
    direction
        +1 (-1): intercepts must not fall (rise) with the horizon; those that would are levelled.

    Examples
    --------
    >>> raw, horizon = np.array([0.0, 1.0, 0.0, 1.0]), np.array([7.0, 7.0, 30.0, 30.0])
    >>> platt = match_means(raw, np.array([0.1, 0.3, 0.4, 0.6]), horizon, 1.0, 1)
    >>> round(float(platt.probability(raw[:2], 7.0).mean()), 6)
    0.2
    """
    horizons = np.unique(horizon)
    intercepts = []
    for one in horizons:
        rows = horizon == one
        goal = float(np.clip(forecast[rows].mean(), 1e-6, 1 - 1e-6))
        scaled = slope * raw[rows]
        low, high = -40.0 - float(scaled.max()), 40.0 - float(scaled.min())
        intercepts.append(brentq(lambda b, s=scaled, g=goal: float(expit(s + b).mean()) - g, low, high))
    if direction:
        intercepts = isotonic_regression(intercepts, increasing=direction > 0).x.tolist()
    return Platt(slope, {float(h): float(b) for h, b in zip(horizons, intercepts, strict=True)})
