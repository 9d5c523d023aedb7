"""Forecasts to numbers: every metric beside every baseline, pooled, by origin and by segment, with intervals.

All intervals come from draws of users (`training.resample`), the same draws for ours and for the baselines. They say
how much other users of the same kind would change a number; how much another season would, the origins beside each
other show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from training.curves import curves_of
from training.evaluate import Contact, Scored
from training.forecasts import Forecasts
from training.resample import Interval, Measure, resample
from training.segments import SEGMENTS, UNKNOWN
from training.value.measures import measure

__all__ = ["NOT_COMPARED", "OURS", "Result", "evaluate_forecasts", "measured", "shown_metrics"]

OURS = "ours"
#: Facts about the rows, which no forecast can be better in.
NOT_COMPARED = ("mean_prediction", "base_rate", "mean_truth")
LEAST_OF_A_KIND = 5
LEAST_ROWS = 50
MOST_STORES = 8
RESAMPLES = 200
# Draws cost time by the row: with more rows than this, intervals are narrow and fewer draws tell them.
MOST_WORK = 20_000_000
LEAST_RESAMPLES = 60

#: ``ours`` and ``baselines`` by metric as ``{"value", "ci"}``; ``best`` by metric: which baseline, and the difference.
Result = dict[str, Any]


def evaluate_forecasts(found: Forecasts, contact: Contact, seed: int) -> dict[str, Result]:
    """By head: ``pooled`` over origins, ``by_origin`` and ``by_segment`` (`measured` each), and ``curves``."""
    heads = list(dict.fromkeys(found.frame["head"]))
    return {head: _head(found, head, partial(measured, kind=found.kind, contact=contact, seed=seed)) for head in heads}


def _head(found: Forecasts, head: str, judge: Any) -> Result:
    rows = found.of(head)
    pooled = judge(rows)
    if "too_few" in pooled:
        return {"pooled": pooled, "by_origin": [], "by_segment": {}, "curves": {}, "better_at": [0, 0]}
    instants = sorted(rows["as_of"].unique())
    by_origin = [{"origin": at.isoformat(), **judge(rows[rows["as_of"] == at])} for at in instants]
    chosen = {name: _parts(rows[f"segment.{name}"]) for name in SEGMENTS if f"segment.{name}" in rows}
    by_segment = {
        name: {part: judge(rows[rows[f"segment.{name}"] == part]) for part in parts}
        for name, parts in chosen.items()
        if len(parts) > 1
    }
    baselines = {name: rows[f"baseline.{name}"].to_numpy(float) for name in pooled["baselines"]}
    curves = curves_of(rows["y"], rows["p"], rows["raw"], baselines)
    return {"pooled": pooled, "by_origin": by_origin, "by_segment": by_segment, "curves": curves}


def _parts(column: pd.Series) -> list[str]:
    """The parts of a segmentation, largest first; of many, those that have most rows."""
    return [str(name) for name in column.value_counts().index if name != UNKNOWN][:MOST_STORES]


def measured(rows: pd.DataFrame, kind: str, contact: Contact, seed: int, names: Sequence[str] | None = None) -> Result:
    """Every metric of ours and of each baseline on ``rows`` of one head, and how much better ours is than the best.

    Parameters
    ----------
    rows
        The columns of `Forecasts.frame`.
    kind
        ``probability`` or ``spend``.
    names
        Which baselines; all that say something of these rows when absent.

    Returns
    -------
    dict
        ``rows``, ``users``, ``ours``, ``baselines`` and ``best``: by metric the ``baseline`` whose value is best, and
        the paired ``difference``, above 0 where ours is better. Only ``too_few`` where an interval would say nothing.
    """
    size = {"rows": len(rows), "users": int(rows["user_id"].nunique())}
    if (reason := _too_few(rows, kind)) is not None:
        return {**size, "too_few": reason}
    known = [str(column) for column in rows.columns[rows.notna().all()]]
    told = names or [column.partition(".")[2] for column in known if column.startswith("baseline.")]
    measures = {OURS: _measure(rows, rows["p"], rows["raw"], kind, contact)}
    for name in told:
        said = rows[f"baseline.{name}"]
        measures[name] = _measure(rows, said, said, kind, contact)
    draws = int(np.clip(MOST_WORK / (len(rows) * len(measures)), LEAST_RESAMPLES, RESAMPLES))
    drawn = resample(measures, rows["user_id"].to_numpy(), draws, seed)
    compared = [metric for metric in drawn.point[OURS] if metric not in NOT_COMPARED]
    best = {}
    for metric in compared if told else ():
        # The best of them by its own value: what ours must beat.
        other = min(told, key=lambda name: drawn.difference(OURS, name, metric).value)
        best[metric] = {"baseline": other, "difference": _json(drawn.difference(OURS, other, metric))}
    of = {name: {metric: _json(one) for metric, one in drawn.intervals(name).items()} for name in measures}
    return {**size, OURS: of[OURS], "baselines": {name: of[name] for name in told}, "best": best}


def shown_metrics(results: Mapping[str, Result]) -> list[str]:
    """The metrics that any head has, in their order."""
    return list(dict.fromkeys(m for one in results.values() for m in one["pooled"].get(OURS, {})))


def _measure(rows: pd.DataFrame, p: pd.Series, raw: pd.Series, kind: str, contact: Contact) -> Measure:
    if kind == "probability":
        return Scored(rows["y"], p, raw, contact).metrics
    truth, forecast = rows["y"].to_numpy(float), p.to_numpy(float)

    def counted(weight: np.ndarray[Any, np.dtype[np.float64]] | None) -> dict[str, float]:
        chosen = np.arange(len(truth)) if weight is None else np.repeat(np.arange(len(truth)), weight.astype(int))
        mean = {"mean_prediction": float(forecast[chosen].mean()), "mean_truth": float(truth[chosen].mean())}
        return measure(truth[chosen], forecast[chosen]) | mean

    return counted


def _too_few(rows: pd.DataFrame, kind: str) -> dict[str, str] | None:
    ones = int((rows["y"] > 0).sum())
    if kind == "probability" and min(ones, len(rows) - ones) < LEAST_OF_A_KIND:
        return {"en": f"{ones} of {len(rows)} positive", "zh": f"{len(rows)} 行中仅 {ones} 个正例"}
    if len(rows) < LEAST_ROWS or ones < LEAST_OF_A_KIND:
        return {"en": f"{len(rows)} rows", "zh": f"仅 {len(rows)} 行"}
    return None


def _json(one: Interval) -> dict[str, Any]:
    return one.as_json()
