"""How much is knowing the uplift worth? Qini, AUUC, uplift@k and the value of policies, with intervals.

People are sorted by predicted uplift, highest first; those with equal predictions are one step, within which the curve
is straight. With ``T`` treated and ``C`` untreated people among the first share ``s``, and outcomes summing to ``Yt``
and ``Yc``::

    gain(s) = s * (Yt / T - Yc / C)          what treating that share yields per person of the whole population
    qini(s) = (Yt - Yc * T / C) / all treated   the same, counted on the treated (Radcliffe 2007)

AUUC is the area under ``gain`` over ``s`` in [0, 1]; Qini the area between ``qini`` and the straight line to its end.
Both are per person, in the unit of the outcome; a prediction that knows nothing has Qini 0 and AUUC half the effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluate import Interval

__all__ = ["Curve", "bootstrap_means", "policy_contributions", "uplift_metrics"]

Floats = NDArray[np.float64]

SHARES = (0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Curve:
    """People sorted by predicted uplift, highest first, ready to be counted any number of times."""

    order: NDArray[np.intp]
    ends: NDArray[np.intp]
    treated: Floats
    y: Floats

    @classmethod
    def of(cls, uplift: Floats, treated: Floats, outcome: Floats) -> Curve:
        """``uplift`` as predicted, ``treated`` 1 or 0 (control), ``outcome``; shape (n,) each."""
        order = np.argsort(-uplift, kind="stable")
        ranked = uplift[order]
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        return cls(order, ends, np.asarray(treated, float)[order], np.asarray(outcome, float)[order])

    def metrics(self, weight: Floats | None = None) -> dict[str, float]:
        """``qini``, ``auuc`` and ``uplift@10`` ... for people counted ``weight`` times.

        Examples
        --------
        Four of eight were treated; only the one with the highest prediction was changed.

        >>> uplift = np.repeat([4.0, 3.0, 2.0, 1.0], 2)
        >>> treated = np.tile([1.0, 0.0], 4)
        >>> found = Curve.of(uplift, treated, np.array([1.0, 0, 1, 1, 0, 0, 0, 0])).metrics()
        >>> round(found["auuc"], 5), round(found["qini"], 5), round(found["uplift@30"], 5)
        (0.21875, 0.09375, 0.83333)
        """
        w = np.ones(len(self.y)) if weight is None else weight[self.order]
        t, c = w * self.treated, w * (1 - self.treated)
        people = np.cumsum(w)[self.ends]
        if people[-1] == 0 or t.sum() == 0 or c.sum() == 0:
            return {name: float("nan") for name in ("qini", "auuc", *(f"uplift@{s * 100:g}" for s in SHARES))}
        share = np.append(0.0, people / people[-1])
        n_t, n_c, y_t, y_c = (np.append(0.0, np.cumsum(v)[self.ends]) for v in (t, c, t * self.y, c * self.y))
        # A step with nobody on one side shows nothing of the difference.
        lift = np.divide(y_t, n_t, out=np.zeros_like(y_t), where=n_t > 0)
        lift -= np.divide(y_c, n_c, out=np.zeros_like(y_c), where=n_c > 0)
        lift[(n_t == 0) | (n_c == 0)] = 0
        gain, qini = share * lift, n_t * lift / n_t[-1]
        found = {
            "qini": float(np.trapezoid(qini, share) - qini[-1] / 2),
            "auuc": float(np.trapezoid(gain, share)),
        }
        for s in SHARES:
            at = [float(np.interp(s, share, v)) for v in (y_t, n_t, y_c, n_c)]
            found[f"uplift@{s * 100:g}"] = at[0] / at[1] - at[2] / at[3] if at[1] > 0 and at[3] > 0 else float("nan")
        return found


def uplift_metrics(curves: Mapping[str, Curve], resamples: int, seed: int) -> dict[str, Interval]:
    """Each curve's metrics, named ``<curve>.<metric>``, with 95 % intervals from resampled people.

    All curves must be of the same people, in the same order: every draw counts them alike.
    """
    point = {f"{name}.{key}": v for name, curve in curves.items() for key, v in curve.metrics().items()}
    n = len(next(iter(curves.values())).y)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in point}
    for _ in range(resamples):
        count = np.bincount(rng.integers(0, n, n), minlength=n).astype(float)
        for name, curve in curves.items():
            for key, value in curve.metrics(count).items():
                drawn[f"{name}.{key}"].append(value)
    bounds = {name: np.nanpercentile(values, [2.5, 97.5]) for name, values in drawn.items()}
    return {name: Interval(point[name], float(bounds[name][0]), float(bounds[name][1])) for name in point}


def policy_contributions(
    outcome: Floats, arm: NDArray[np.str_], chosen: NDArray[np.str_], probability: Floats | float
) -> Floats:
    """``outcome * 1[arm = chosen] / P(arm)``: their mean estimates what everybody would do under the policy, unbiased.

    Examples
    --------
    >>> arm = np.array(["a", "b", "a", "b"])
    >>> float(policy_contributions(np.array([1.0, 0, 0, 1]), arm, np.array(["a"] * 4), 0.5).mean())
    0.5
    """
    return np.asarray(np.where(arm == chosen, outcome / probability, 0.0), dtype=np.float64)


def bootstrap_means(columns: Sequence[Floats], resamples: int, seed: int) -> Floats:
    """Means of each column over ``resamples`` draws of people, float64[resamples, columns]; a draw counts all alike."""
    values = np.column_stack(columns)
    n = len(values)
    rng = np.random.default_rng(seed)
    draws = (np.bincount(rng.integers(0, n, n), minlength=n) @ values / n for _ in range(resamples))
    return np.stack(list(draws))
