"""Raw scores to probabilities: one slope for a booster, one intercept per horizon, in the order of the horizons.

One slope keeps the order of users at every horizon; ordered intercepts keep every user's probabilities in the order of
the horizons. So a longer horizon never contradicts a shorter one, whatever the calibration data say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize

__all__ = ["Platt", "fit_platt"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Platt:
    """``p = 1 / (1 + exp(-(slope * raw + intercept[horizon])))``."""

    slope: float
    intercepts: dict[float, float]

    def at(self, horizon: float) -> dict[str, object]:
        """The calibrator of one horizon as ``model.json`` writes it."""
        return {"kind": "sigmoid", "slope": self.slope, "intercept": self.intercepts[horizon]}


def fit_platt(raw: Floats, label: Floats, horizon: Floats, direction: int) -> Platt:
    """Least log-loss over a common slope in [0.2, 5] and an intercept per horizon.

    Parameters
    ----------
    raw, label, horizon
        Out-of-fold scores, 0 or 1, and each row's horizon in days (0 where there is none); shape (n,).
    direction
        +1 (-1): intercepts must not fall (rise) with the horizon.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> raw = rng.normal(size=20_000)
    >>> y = (rng.uniform(size=raw.size) < 1 / (1 + np.exp(-(0.5 * raw - 1)))).astype(float)
    >>> fitted = fit_platt(raw, y, np.zeros_like(raw), 0)
    >>> abs(fitted.slope - 0.5) < 0.05, abs(fitted.intercepts[0.0] + 1) < 0.05
    (True, True)
    """
    horizons, codes = np.unique(horizon, return_inverse=True)
    counts = np.bincount(codes).astype(float)

    def loss(theta: Floats) -> tuple[float, Floats]:
        margin = theta[0] * raw + theta[1:][codes]
        error = 1 / (1 + np.exp(-margin)) - label
        value = np.logaddexp(0, margin).sum() - (label * margin).sum()
        gradient = np.concatenate([[(error * raw).sum()], np.bincount(codes, error, len(horizons))])
        return float(value) / len(raw), gradient / len(raw)

    start = np.concatenate([[1.0], np.zeros(len(horizons))])
    bounds = [(0.2, 5.0)] + [(-20.0, 20.0)] * len(horizons)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    intercepts = found.x[1:]
    if direction:
        intercepts = isotonic_regression(intercepts, weights=counts, increasing=direction > 0).x
    return Platt(float(found.x[0]), {float(h): float(b) for h, b in zip(horizons, intercepts, strict=True)})
