"""How much will everybody do in the weeks ahead? A forecast of the population's level, and a smooth teacher.

Trees rank users well and forecast seasons badly: they cannot tell "this user is quiet" from "it is January". So the
level is a model of its own, a logistic regression over smooth covariates of the user and blocks of calendar time::

    logit P(event in the window) = user covariates + sum over blocks (share of the window in the block) x level[block]

The levels of the blocks, 30 days each, follow a Gaussian process: a part that repeats every year, a part that wanders
and returns, and noise. Blocks after the last known day have no data: their level is what the process expects, last
year's season shrunk by how little one year proves, and the recent deviation fading out. With less than a year of
history the season is simply unknown and the forecast stays near the present.

The strengths of the three parts are fixed in advance (log-odds): a season of 0.35, a wandering of 0.25 that forgets
within 300 days, noise of 0.1. They were chosen on simulated shops and on earlier periods only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

__all__ = ["BLOCK_DAYS", "Level", "Windows", "covariance", "covariates", "fit_level", "shares"]

Floats = NDArray[np.float64]

BLOCK_DAYS = 30.0
SEASON, SEASON_SMOOTHNESS = 0.35, 0.9
WANDER, WANDER_DAYS = 0.25, 300.0
NOISE = 0.1
RIDGE = 3.0
# Rows of one user at many origins repeat themselves: each counts a quarter.
ROW_WEIGHT = 0.25

_COLUMNS = ("recency", "tenure", "days", "days_30", "days_90", "days_180", "gap_ratio", "spend", "basket")
_PURCHASES = (
    "days_since_last_purchase",
    "days_since_first_purchase",
    "purchase_days_life",
    "orders_30d",
    "purchase_days_90d",
    "orders_180d",
    "purchase_gap_ratio",
    "spend_life",
    "basket_amount_mean",
)
_ACTIVITY = (
    "days_since_last_activity",
    "tenure_days",
    "active_days_life",
    "active_days_30d",
    "active_days_90d",
    "active_days_180d",
    "activity_gap_ratio",
    "spend_life",
    "basket_amount_mean",
)


@dataclass(frozen=True)
class Windows:
    """Label windows ``(start, end]`` in days since any fixed day; shape (n,) each."""

    start: Floats
    end: Floats

    @property
    def days(self) -> Floats:
        """How long they are."""
        return self.end - self.start


@dataclass(frozen=True)
class Level:
    """A fitted level; ``edges`` are the borders of the blocks, ``levels`` their log-odds."""

    edges: Floats
    levels: Floats
    weights: Floats
    mean: Floats
    scale: Floats
    longest: float

    def offset(self, windows: Windows) -> Floats:
        """What the calendar adds to the log-odds, shape (n,)."""
        return shares(self.edges, windows) @ self.levels

    def margin(self, z: Floats, windows: Windows) -> Floats:
        """Log-odds of the label, shape (n,)."""
        found: Floats = _design(z, windows.days, self.mean, self.scale, self.longest) @ self.weights
        return found + self.offset(windows)

    def probability(self, z: Floats, windows: Windows) -> Floats:
        """Probability of the label, shape (n,)."""
        return np.asarray(expit(self.margin(z, windows)), dtype=np.float64)


def covariates(x: Floats, features: Sequence[str], purchases: bool, history_days: Floats) -> Floats:
    """Smooth covariates of recency, frequency, tenure and money, float64[n, k].

    Parameters
    ----------
    x
        Feature values, columns in the order of ``features``.
    purchases
        Whether buying or being active is in question.
    history_days
        Days of history before each row's origin: early origins saw old customers as new ones.
    """
    chosen = _PURCHASES if purchases else _ACTIVITY
    index = {name: k for k, name in enumerate(features)}
    c = {name: x[:, index[column]] for name, column in zip(_COLUMNS, chosen, strict=True)}
    tenure = np.nan_to_num(c["tenure"])
    # Whoever never did it has been silent since the beginning.
    recency = np.minimum(np.where(np.isnan(c["recency"]), tenure, c["recency"]), tenure)
    days = np.maximum(np.nan_to_num(c["days"]), 1)
    silence = np.log(recency + 7)
    single = (days <= 1).astype(float)
    # Seen since the first two months of the history: perhaps an old customer, whose first day we do not know.
    legacy = (tenure >= history_days - 60).astype(float)
    young = np.exp(-history_days / 90)
    return np.column_stack(
        [
            silence,
            silence**2,
            np.log(tenure + 30),
            np.log(days),
            np.log(days) ** 2,
            *(np.log(np.nan_to_num(c[k]) + 0.5) for k in ("days_30", "days_90", "days_180")),
            (days - 0.5) / (tenure + 60),
            _alive(recency, tenure, days),
            np.where(np.isnan(c["gap_ratio"]), 0, np.log(np.nan_to_num(c["gap_ratio"]) + 0.3)),
            single,
            np.log((days - 0.5) / (tenure - recency + 45) * recency + 0.2),
            np.log(np.maximum(np.nan_to_num(c["spend"]), 1)),
            np.log(np.maximum(np.nan_to_num(c["basket"]), 1)),
            legacy,
            np.exp(-recency / 20),
            single * silence,
            legacy * single,
            young,
            legacy * young,
        ]
    )


def _alive(recency: Floats, tenure: Floats, days: Floats) -> Floats:
    """P(not dropped out) of a BG/NBD customer with typical parameters: the shape of a silence, not a fit."""
    growth = np.minimum((days - 0.75) * np.log((60 + tenure) / (60 + tenure - recency)), 30)
    return np.where(days > 1, 1 / (1 + np.exp(growth) / np.maximum(days - 0.2, 0.1)), 0.5)


def fit_level(z: Floats, y: Floats, windows: Windows, today: float, horizon_days: float) -> Level:
    """Maximum a posteriori by Newton steps.

    Parameters
    ----------
    z, y, windows
        Covariates, 0 or 1, and label windows; every window ends at or before ``today``.
    today
        The last known day, on the scale of ``windows``.
    horizon_days
        How far after ``today`` the level will be asked for.
    """
    first = np.floor((windows.start.min() - today) / BLOCK_DAYS)
    last = np.ceil(horizon_days / BLOCK_DAYS)
    edges = today + BLOCK_DAYS * np.arange(first, last + 1)
    middle = edges[:-1] + BLOCK_DAYS / 2
    mean, scale = z.mean(0), z.std(0) + 1e-9
    longest = float(windows.days.max())
    a = _design(z, windows.days, mean, scale, longest)
    a = np.hstack([a, shares(edges, windows)])
    k, q = a.shape[1] - len(middle), len(middle)
    penalty = np.zeros((k + q, k + q))
    penalty[np.arange(k - 3), np.arange(k - 3)] = RIDGE
    penalty[k:, k:] = np.linalg.inv(covariance(middle) + 1e-6 * np.eye(q))
    theta = np.zeros(k + q)
    theta[k - 3] = logit(np.clip(y.mean(), 0.01, 0.99))
    for _ in range(25):
        p = expit(a @ theta)
        gradient = ROW_WEIGHT * (a.T @ (y - p)) - penalty @ theta
        hessian = (a * (ROW_WEIGHT * p * (1 - p))[:, None]).T @ a + penalty + 1e-8 * np.eye(k + q)
        step = np.linalg.solve(hessian, gradient)
        # A step never moves anybody by more than 2 in log-odds, so that Newton cannot overshoot.
        moved = float(np.abs(a @ step).max())
        theta += step * min(1.0, 2.0 / max(moved, 1e-12))
        if moved < 1e-4:
            break
    return Level(edges, theta[k:], theta[:k], mean, scale, longest)


def covariance(middle: Floats) -> Floats:
    """What is believed of the levels of blocks around the days ``middle`` before any is seen: float64[k, k]."""
    apart = np.abs(middle[:, None] - middle[None, :])
    yearly = SEASON**2 * np.exp(-2 * np.sin(np.pi * apart / 365.25) ** 2 / SEASON_SMOOTHNESS**2)
    believed: Floats = yearly + WANDER**2 * np.exp(-apart / WANDER_DAYS) + NOISE**2 * np.eye(len(middle))
    return believed


def shares(edges: Floats, windows: Windows) -> Floats:
    """How much of each window lies in each block, float64[n, blocks]; rows sum to 1 inside the edges."""
    low = np.maximum(edges[None, :-1], windows.start[:, None])
    high = np.minimum(edges[None, 1:], windows.end[:, None])
    found: Floats = np.clip(high - low, 0, None) / windows.days[:, None]
    return found


def _design(z: Floats, days: Floats, mean: Floats, scale: Floats, longest: float) -> Floats:
    standard = (z - mean) / scale
    length = np.log(days / longest)[:, None]
    return np.hstack([standard, standard * length, np.ones((len(z), 1)), length, length**2])
