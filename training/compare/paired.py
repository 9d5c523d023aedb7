"""Two forecasts of the same rows, metric by metric: each with its interval, and their difference with its own.

Both are measured on the same resampled users, so what is common to both (an easy month, a hard customer) cancels out of
the difference. Rows of one user are not independent: users are drawn, not rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.evaluate import Interval, Scored
from training.value.measures import measure

__all__ = ["BETTER", "Pair", "direction", "paired", "same_rows"]

Floats = NDArray[np.float64]

RESAMPLES = 200
LIFTS = (5, 10, 20)
#: +1 where more is better, -1 where less is, 0 where nearer to 0 is. What is not named here judges nobody.
BETTER = {
    **dict.fromkeys(("auroc", "pr_auc", "spearman", "capture@10"), 1),
    **dict.fromkeys((f"lift@{percent}" for percent in LIFTS), 1),
    **dict.fromkeys(("log_loss", "brier", "ece", "mae"), -1),
    "bias": 0,
}


@dataclass(frozen=True)
class Pair:
    """One metric of both, and ``difference`` = second - first, on the same users."""

    first: Interval
    second: Interval
    difference: Interval

    def as_json(self) -> dict[str, Any]:
        """The three intervals as JSON."""
        return {name: getattr(self, name).as_json() for name in ("first", "second", "difference")}


def direction(metric: str) -> int:
    """+1 when more of the metric is better, -1 when less is, 0 when nearer to 0 is.

    Examples
    --------
    >>> direction("auroc"), direction("log_loss"), direction("bias")
    (1, -1, 0)
    """
    return BETTER[metric]


def same_rows(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The rows that both forecasts have, with ``p_first``, ``raw_first``, ``p_second``, ``raw_second``.

    A row is one user (and item) at one origin and head; ``y`` and the segments are the second's.
    """
    keys = [name for name in ("user_id", "item", "as_of", "head") if name in first and name in second]
    left = first[[*keys, "p", "raw"]].rename(columns={"p": "p_first", "raw": "raw_first"})
    right = second.rename(columns={"p": "p_second", "raw": "raw_second"})
    right = right[[name for name in right.columns if not name.startswith("baseline.")]]
    return right.merge(left, on=keys, how="inner", validate="one_to_one")


def paired(
    rows: pd.DataFrame, kind: str, *, resamples: int = RESAMPLES, seed: int = 0, only: str | None = None
) -> dict[str, Pair]:
    """Every metric of both forecasts of one head, and the difference.

    Parameters
    ----------
    rows
        As `same_rows` gives them, of one head.
    kind
        ``probability`` or ``spend``.
    only
        One metric; all of `BETTER` that the kind has when absent.
    """
    y = rows["y"].to_numpy(float)
    sides: list[_Measured] = [
        _Spent(y, p) if kind == "spend" else Scored(y, p, rows[f"raw_{side}"].to_numpy(float))
        for side in ("first", "second")
        for p in [rows[f"p_{side}"].to_numpy(float)]
    ]
    point = [_chosen(side.metrics(None), only) for side in sides]
    codes, users = _users(rows["user_id"])
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[list[float]]] = {name: [[], []] for name in point[0]}
    for _ in range(resamples):
        counts = np.bincount(generator.integers(0, users, users), minlength=users)
        weight = counts[codes].astype(float)
        for place, side in enumerate(sides):
            for name, value in _chosen(side.metrics(weight), only).items():
                drawn[name][place].append(value)
    found = {}
    for name in point[0]:
        first, second = (np.array(values) for values in drawn[name])
        values = point[0][name], point[1][name]
        found[name] = Pair(
            _interval(values[0], first), _interval(values[1], second), _interval(values[1] - values[0], second - first)
        )
    return found


class _Measured(Protocol):
    def metrics(self, weight: Floats | None) -> dict[str, float]:
        """The metrics of rows counted ``weight`` times each."""


@dataclass(frozen=True)
class _Spent:
    y: Floats
    p: Floats

    def metrics(self, weight: Floats | None) -> dict[str, float]:
        times = np.ones(len(self.y), dtype=int) if weight is None else weight.astype(int)
        places = np.repeat(np.arange(len(self.y)), times)
        return measure(self.y[places], self.p[places])


def _chosen(measured: dict[str, float], only: str | None) -> dict[str, float]:
    return {name: value for name, value in measured.items() if name in BETTER and only in (None, name)}


def _users(users: pd.Series[Any]) -> tuple[NDArray[np.intp], int]:
    codes, found = pd.factorize(users)
    return codes, len(found)


def _interval(value: float, drawn: Floats) -> Interval:
    if np.isnan(drawn).all():
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))
