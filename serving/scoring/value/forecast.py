"""What n customers will spend within a horizon: not only the mean, the whole distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "SpendForecast"]

Floats = NDArray[np.float64]

LEVELS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class SpendForecast:
    """Nothing with probability ``1 - p``; else an amount around ``amount``, its mean, as ``ratios`` say for everybody.

    ``p`` and ``amount`` are float64[n]; ``ratios`` are the 0, 1, ..., 100 % quantiles of log(amount / mean amount).
    """

    p: Floats
    amount: Floats
    ratios: Floats

    @property
    def expected(self) -> Floats:
        """The mean spend, float64[n]."""
        return self.p * self.amount

    def quantile(self, level: float) -> Floats:
        """The spend that is not exceeded with probability ``level``, float64[n]: 0 for whoever may well not buy.

        Examples
        --------
        >>> one = SpendForecast(np.array([0.9, 0.3]), np.array([100.0, 100.0]), np.zeros(101))
        >>> one.quantile(0.5).tolist(), one.expected.tolist()
        ([100.0, 0.0], [90.0, 30.0])
        """
        inside = (level - (1 - self.p)) / np.maximum(self.p, 1e-12)
        spread = np.exp(np.interp(inside, LEVELS, self.ratios))
        return np.where(inside > 0, self.amount * spread, 0.0)
