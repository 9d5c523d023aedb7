"""Forecasts of spend beside each other: whether customers are in order, and whether the total is right.

The absolute error does not ask that: the median minimises it, and where most buy nothing the median is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.backtest.evaluation import MOST_WORK, OURS, draws_of
from training.resample import Measure, Resampled, gain, resample
from training.value.measures import MEASURES, measure

__all__ = ["FAR_OFF", "amounts", "at_each", "better", "deciding"]

Floats = NDArray[np.float64]

#: A total that is further off than another one's by less than this share of the truth may be the season's doing.
FAR_OFF = 0.25


def deciding(metric: str) -> str:
    """The measure of spend that decides: ``metric`` of the gate where it is one.

    Examples
    --------
    >>> deciding("capture@10"), deciding("log_loss")
    ('capture@10', 'spearman')
    """
    return metric if metric in MEASURES else "spearman"


def amounts(rows: pd.DataFrame, names: Sequence[str], seed: int = 0) -> Resampled:
    """`MEASURES` of ours and of baselines, each the mean over origins, on the same draws of users.

    Parameters
    ----------
    rows
        Of one head, as in `training.forecasts.Forecasts`; every baseline of ``names`` answers all of them.

    Returns
    -------
    Resampled
        ``bias`` is the distance from 0, so that a season too high and one too low do not make a right level.
    """
    measures = {OURS: _over_origins(rows, "p"), **{one: _over_origins(rows, f"baseline.{one}") for one in names}}
    return resample(measures, rows["user_id"].to_numpy(str), draws_of(len(rows), len(measures), MOST_WORK), seed)


def better(drawn: Resampled, name: str, metric: str) -> tuple[float, float, int]:
    """How much better ours is than a baseline of `amounts`: the value, its standard error, and of how many draws."""
    told = gain(metric, drawn.draws[OURS][metric], drawn.draws[name][metric])
    told = told[np.isfinite(told)]
    error = float(told.std(ddof=1)) if len(told) > 1 else float("inf")
    return drawn.difference(OURS, name, metric).value, error, len(told)


def at_each(rows: pd.DataFrame, column: str) -> list[dict[str, float]]:
    """`MEASURES` of one forecast at each origin, the oldest first."""
    groups = rows.groupby("as_of", sort=True)
    return [measure(one["y"].to_numpy(float), one[column].to_numpy(float)) for _, one in groups]


def _over_origins(rows: pd.DataFrame, column: str) -> Measure:
    truth, forecast = rows["y"].to_numpy(float), rows[column].to_numpy(float)
    places = [np.flatnonzero(rows["as_of"].to_numpy() == at) for at in rows["as_of"].unique()]

    def counted(weight: Floats | None) -> dict[str, float]:
        chosen = [one if weight is None else np.repeat(one, weight[one].astype(int)) for one in places]
        # A draw in which nobody buys has no total to be right about.
        found = [measure(truth[one], forecast[one]) for one in chosen if truth[one].sum() > 0]
        if not found:
            return dict.fromkeys(MEASURES, float("nan"))
        return {m: float(np.mean([abs(one[m]) if m == "bias" else one[m] for one in found])) for m in MEASURES}

    return counted
