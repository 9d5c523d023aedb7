"""How long until the next order: quantiles of a waiting time from P(order within h) on a few horizons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["quantiles"]

Floats = NDArray[np.float64]


def quantiles(probability: Floats, horizons_days: Sequence[float], levels: Sequence[float]) -> Floats:
    """The waiting times, in days, by which an order has come with each probability of ``levels``.

    Between two horizons the hazard is taken as constant, so -log(1 - P) is a straight line.

    Parameters
    ----------
    probability
        float64[n, h]: P(an order in (as_of, as_of + horizon]); a fall along the horizons is levelled out.
    horizons_days
        h horizons, rising.
    levels
        k probabilities in (0, 1).

    Returns
    -------
    float64[n, k]; NaN where the level is not reached within the last horizon.

    Examples
    --------
    >>> quantiles(np.array([[0.5, 0.75]]), [10.0, 20.0], [0.1, 0.5, 0.9]).round(3).tolist()
    [[1.52, 10.0, nan]]
    """
    bounded = np.clip(probability, 0.0, 1.0 - 1e-12)
    hazard = np.maximum.accumulate(-np.log1p(-np.pad(bounded, ((0, 0), (1, 0)))), axis=1)
    days = np.concatenate([[0.0], np.asarray(horizons_days, dtype=np.float64)])
    result = np.full((len(hazard), len(levels)), np.nan)
    for column, level in enumerate(levels):
        target = -np.log1p(-level)
        rows = np.flatnonzero(hazard[:, -1] >= target * (1 - 1e-12))
        after = np.argmax(hazard[rows] >= target * (1 - 1e-12), axis=1)
        before = np.maximum(after - 1, 0)
        low, high = hazard[rows, before], hazard[rows, after]
        share = (target - low) / np.where(high > low, high - low, 1.0)
        result[rows, column] = days[before] + share * (days[after] - days[before])
    return result
