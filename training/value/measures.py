"""How good is a forecast of spend? Four measures, with 95 % intervals from resampled users, paired between forecasts.

``mae``
    mean absolute error per user. The middle of the distribution minimises it, not its mean: where most buy nothing, 0
    is hard to beat.
``bias``
    forecast total / true total - 1. Only a mean can have none.
``spearman``
    rank correlation with the truth; ties count their mean rank.
``capture@10``
    the share of the true total that the tenth of users with the highest forecasts spends.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from training.evaluate import Interval

__all__ = ["MEASURES", "measure", "spend_metrics"]

Floats = NDArray[np.float64]

MEASURES = ("mae", "bias", "spearman", "capture@10")
TOP = 0.1


def measure(truth: Floats, forecast: Floats) -> dict[str, float]:
    """The four measures of one forecast; shape (n,) each.

    Examples
    --------
    >>> found = measure(np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 10, 90]), np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 30, 80]))
    >>> {name: round(value, 3) for name, value in found.items()}
    {'mae': 3.0, 'bias': 0.1, 'spearman': 1.0, 'capture@10': 0.9}
    """
    total = float(truth.sum())
    top = max(1, round(len(truth) * TOP))
    best = np.argsort(-forecast, kind="stable")[:top]
    return {
        "mae": float(np.abs(forecast - truth).mean()),
        "bias": float(forecast.sum() / total - 1) if total > 0 else float("nan"),
        "spearman": _correlation(rankdata(truth), rankdata(forecast)),
        "capture@10": float(truth[best].sum() / total) if total > 0 else float("nan"),
    }


def spend_metrics(
    truth: Floats, forecasts: Mapping[str, Floats], against: Mapping[str, str], resamples: int, seed: int
) -> dict[str, dict[str, Interval]]:
    """Every measure of every forecast, and how much better each is than others, on the same resampled users.

    Parameters
    ----------
    truth
        What each user spent, shape (n,): one row per user.
    against
        Names of differences to the forecasts they compare, ``{"expected_vs_last": "expected last"}``. A difference is
        above 0 where the first is better: a smaller error, a smaller distance of the bias from 0, a higher rank
        correlation or capture.
    """
    point = _all(truth, forecasts, against)
    rng = np.random.default_rng(seed)
    drawn: dict[str, dict[str, list[float]]] = {name: {m: [] for m in MEASURES} for name in point}
    for _ in range(resamples):
        chosen = rng.integers(0, len(truth), len(truth))
        for name, values in _all(truth[chosen], {k: v[chosen] for k, v in forecasts.items()}, against).items():
            for one, value in values.items():
                drawn[name][one].append(value)
    return {
        name: {
            one: Interval(value, *(float(v) for v in np.nanpercentile(drawn[name][one], [2.5, 97.5])))
            for one, value in values.items()
        }
        for name, values in point.items()
    }


def _all(truth: Floats, forecasts: Mapping[str, Floats], against: Mapping[str, str]) -> dict[str, dict[str, float]]:
    found = {name: measure(truth, forecast) for name, forecast in forecasts.items()}
    for name, pair in against.items():
        ours, other = (found[one] for one in pair.split())
        found[name] = {one: _better(one, ours[one], other[one]) for one in MEASURES}
    return found


def _better(one: str, ours: float, other: float) -> float:
    if one == "mae":
        return other - ours
    return abs(other) - abs(ours) if one == "bias" else ours - other


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    both = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / both if both > 0 else 0.0
