"""How much will those spend who buy? A smooth model of the mean amount, with the calendar as its own part.

::

    log E[amount in the window | a purchase in it] =
        customer: shrunken own mean (Gamma-Gamma), purchases to expect given one (mixture), log-odds of one, window
        + sum over blocks of 30 days (share of the window in the block) x level[block]

Fitted as a gamma regression, whose estimating equation is right for any amounts with a standard deviation in
proportion to the mean. The levels follow the Gaussian process of `training.level`, at half its strength: whether
people buy moves more with the season than how much. Strength and covariates were chosen on earlier dates only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from training.baselines import GammaGamma
from training.level import BLOCK_DAYS, Windows, covariance, shares
from training.stack import Rows
from training.teacher import Teacher

__all__ = ["Amounts", "Customers", "fit_amounts", "fit_customers"]

Floats = NDArray[np.float64]

STRENGTH = 0.5
RIDGE = 3.0
# Rows of one user at many origins repeat themselves: each counts a quarter, as in the level.
ROW_WEIGHT = 0.25
LEAST_AMOUNT = 1e-6


@dataclass(frozen=True)
class Customers:
    """What is known of customers without a label: the chance and number of purchases, and their own mean amount."""

    teacher: Teacher
    amounts: GammaGamma
    features: tuple[str, ...]

    def covariates(self, rows: Rows) -> Floats:
        """The five covariates of each row, float64[n, 5]."""
        margin, expected = self.teacher.margin(rows), self.teacher.expected(rows)
        days, mean = _own(rows.x, self.features)
        own = np.log(np.maximum(self.amounts.mean_amount(days, mean), LEAST_AMOUNT))
        # Purchases of a Poisson customer, given at least one, were he sure to stay: from the odds of the calendar.
        hazard = np.maximum(np.logaddexp(0, margin), 1e-9)
        steady = np.log(hazard / -np.expm1(-hazard))
        # The same, when he may leave: from the mixture.
        likely = expected[:, 2] - np.log(expit(expected[:, 0]))
        return np.column_stack([own, steady, likely, margin, np.log(rows.end - rows.start)])


def fit_customers(teacher: Teacher, today: Rows, features: Sequence[str]) -> Customers:
    """Gamma-Gamma from the purchase days of the users of ``today``, beside a fitted ``teacher``."""
    days, mean = _own(today.x, features)
    one = today.horizon == today.horizon[0]
    return Customers(teacher, GammaGamma.fit(days[one], mean[one]), tuple(features))


def _own(x: Floats, features: Sequence[str]) -> tuple[Floats, Floats]:
    """Days with purchases, and the mean spend of such a day."""
    place = {name: k for k, name in enumerate(features)}
    days = np.maximum(np.nan_to_num(x[:, place["purchase_days_life"]]), 1.0)
    return days, np.maximum(np.nan_to_num(x[:, place["spend_life"]]), 0.0) / days


@dataclass(frozen=True)
class Amounts:
    """A fitted model of amounts; ``edges`` are the borders of the blocks, ``levels`` their logarithms."""

    edges: Floats
    levels: Floats
    weights: Floats
    mean: Floats
    scale: Floats

    def offset(self, rows: Rows) -> Floats:
        """What the calendar adds to the log of the mean, shape (n,)."""
        return shares(self.edges, Windows(rows.start, rows.end)) @ self.levels

    def margin(self, z: Floats, rows: Rows) -> Floats:
        """The log of the mean amount of those who buy, shape (n,)."""
        found: Floats = _design(z, self.mean, self.scale) @ self.weights + self.offset(rows)
        return found


def fit_amounts(z: Floats, amount: Floats, rows: Rows, today: float, horizon_days: float) -> Amounts:
    """Maximum a posteriori by Fisher scoring.

    Parameters
    ----------
    z, amount, rows
        Covariates, amounts > 0 and label windows of those who bought; every window ends at or before ``today``.
    today, horizon_days
        The last known day, on the scale of the windows, and how far after it amounts will be asked for.
    """
    first = np.floor((rows.start.min() - today) / BLOCK_DAYS)
    edges = today + BLOCK_DAYS * np.arange(first, np.ceil(horizon_days / BLOCK_DAYS) + 1)
    middle = edges[:-1] + BLOCK_DAYS / 2
    mean, scale = z.mean(0), z.std(0) + 1e-9
    a = np.hstack([_design(z, mean, scale), shares(edges, Windows(rows.start, rows.end))])
    k, q = z.shape[1], len(middle)
    penalty = np.zeros((k + 1 + q, k + 1 + q))
    penalty[np.arange(k), np.arange(k)] = RIDGE
    penalty[k + 1 :, k + 1 :] = np.linalg.inv(STRENGTH**2 * covariance(middle) + 1e-6 * np.eye(q))
    theta = np.zeros(k + 1 + q)
    theta[k] = np.log(amount.mean())
    # The expected information does not depend on theta: one factor serves all steps.
    information = ROW_WEIGHT * (a.T @ a) + penalty + 1e-8 * np.eye(k + 1 + q)
    for _ in range(100):
        ratio = amount / np.exp(np.clip(a @ theta, -30, 30))
        step = np.linalg.solve(information, ROW_WEIGHT * (a.T @ (ratio - 1)) - penalty @ theta)
        # A step never moves anybody by more than a factor of e, so that scoring cannot overshoot.
        moved = float(np.abs(a @ step).max())
        theta += step * min(1.0, 1.0 / max(moved, 1e-12))
        if moved < 1e-5:
            break
    return Amounts(edges, theta[k + 1 :], theta[: k + 1], mean, scale)


def _design(z: Floats, mean: Floats, scale: Floats) -> Floats:
    return np.hstack([(z - mean) / scale, np.ones((len(z), 1))])
