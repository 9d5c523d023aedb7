"""Two forecasts of the same rows, metric by metric: each with its interval, and how much better the second is.

Both are measured on the same resampled users, so what is common to both (an easy month, a hard customer) cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.evaluate import Scored
from training.resample import Interval, Measure, gain, resample
from training.value.measures import measure

__all__ = ["Pair", "against_baselines", "paired", "same_rows"]

Floats = NDArray[np.float64]

RESAMPLES = 200
# Means of forecasts and of labels: nobody is better for having more of them.
NO_JUDGEMENT = ("mean_prediction", "base_rate")


@dataclass(frozen=True)
class Pair:
    """One metric of both, and ``better``: above 0 where the second is better, whichever way the metric runs."""

    first: Interval
    second: Interval
    better: Interval

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the interval is on one side of 0; else ``same``: noise explains it.

        Examples
        --------
        >>> loss = Interval(0.40, 0.38, 0.42)
        >>> Pair(loss, loss, Interval(0.002, -0.001, 0.005)).verdict
        'same'
        """
        return "better" if self.better.low > 0 else "worse" if self.better.high < 0 else "same"

    def as_json(self) -> dict[str, Any]:
        """The three intervals and the verdict as JSON."""
        intervals = {name: getattr(self, name).as_json() for name in ("first", "second", "better")}
        return {**intervals, "verdict": self.verdict}


def same_rows(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The rows that both forecasts have, with ``p_first``, ``raw_first``, ``p_second``, ``raw_second``.

    A row is one user (and item) at one origin and head; ``y`` and the segments are the second's.
    """
    keys = [name for name in ("user_id", "item", "as_of", "head") if name in first and name in second]
    left = first[[*keys, "p", "raw"]].rename(columns={"p": "p_first", "raw": "raw_first"})
    right = second.rename(columns={"p": "p_second", "raw": "raw_second"})
    right = right[[name for name in right.columns if not name.startswith("baseline.")]]
    return right.merge(left, on=keys, how="inner", validate="one_to_one")


def against_baselines(frame: pd.DataFrame, kind: str, metric: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """What the baseline that is strongest by ``metric`` says of every head, as a forecast; and its name by head."""
    parts, names = [], {}
    for head, rows in frame.groupby("head"):
        y = rows["y"].to_numpy(float)
        best: tuple[float, str] | None = None
        for column in (name for name in frame.columns if name.startswith("baseline.")):
            said = rows[column].to_numpy(float)
            value = float("nan") if np.isnan(said).any() else _measure(kind, y, said, said)(None)[metric]
            if np.isfinite(value) and (best is None or gain(metric, np.array(value), np.array(best[0])) > 0):
                best = value, column
        if best is not None:
            parts.append(rows.assign(p=rows[best[1]], raw=rows[best[1]]))
            names[str(head)] = best[1].partition(".")[2]
    return (pd.concat(parts) if parts else frame.iloc[:0]), names


def paired(rows: pd.DataFrame, kind: str, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Pair]:
    """Every metric of both forecasts of one head, on the same draws of users.

    Parameters
    ----------
    rows
        As `same_rows` gives them, of one head.
    kind
        ``probability`` or ``spend``.
    """
    y = rows["y"].to_numpy(float)
    measures = {
        side: _measure(kind, y, rows[f"p_{side}"].to_numpy(float), rows[f"raw_{side}"].to_numpy(float))
        for side in ("first", "second")
    }
    found = resample(measures, rows["user_id"].to_numpy(str), resamples, seed)
    return {
        metric: Pair(
            found.interval("first", metric),
            found.interval("second", metric),
            found.difference("second", "first", metric),
        )
        for metric in found.point["first"]
        if metric not in NO_JUDGEMENT
    }


def _measure(kind: str, y: Floats, p: Floats, raw: Floats) -> Measure:
    if kind == "probability":
        return Scored(y, p, raw).metrics

    def spent(weight: Floats | None) -> dict[str, float]:
        times = np.ones(len(y), dtype=int) if weight is None else weight.astype(int)
        places = np.repeat(np.arange(len(y)), times)
        return measure(y[places], p[places])

    return spent
