"""Forecasts to numbers: every metric beside every baseline, pooled, by origin and by segment, with intervals.

All intervals come from draws of users (`training.resample`), the same draws for ours and for the baselines. They say
how much other users of the same kind would change a number; how much another season would, the origins beside each
other show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from training.curves import curves_of
from training.evaluate import Contact, Scored
from training.forecasts import Forecasts
from training.resample import Interval, Measure, Resampled, resample
from training.segments import SEGMENTS, UNKNOWN
from training.value.measures import measure

__all__ = [
    "MOST_WORK",
    "NOT_COMPARED",
    "OURS",
    "Result",
    "answered",
    "by_segment",
    "comparable",
    "draws_of",
    "evaluate_forecasts",
    "measured",
    "shown_metrics",
]

OURS = "ours"
#: Facts about the rows, which no forecast can be better in.
NOT_COMPARED = ("mean_prediction", "base_rate", "mean_truth")
LEAST_OF_A_KIND = 5
LEAST_ROWS = 50
MOST_STORES = 8
RESAMPLES = 200
# Draws cost time by the row: with more rows than this, intervals are narrow and fewer draws tell them. What is pooled
# decides, and is drawn more often.
MOST_WORK, MOST_WORK_POOLED = 20_000_000, 100_000_000
LEAST_RESAMPLES = 60

#: ``ours`` and ``baselines`` by metric as ``{"value", "ci"}``; ``best`` by metric: which baseline, and the difference;
#: ``compared``: on which rows the baselines are measured, and what ours is there.
Result = dict[str, Any]


def evaluate_forecasts(found: Forecasts, contact: Contact, seed: int) -> dict[str, Result]:
    """By head: ``pooled`` over origins, ``by_origin`` and ``by_segment`` (`measured` each), and ``curves``."""
    heads = list(dict.fromkeys(found.frame["head"]))
    judge = partial(measured, kind=found.kind, contact=contact, seed=seed, most_work=MOST_WORK)
    return {head: _head(found, head, judge) for head in heads}


def _head(found: Forecasts, head: str, judge: Any) -> Result:
    rows = found.of(head)
    pooled = judge(rows, most_work=MOST_WORK_POOLED)
    if "too_few" in pooled:
        return {"pooled": pooled, "by_origin": [], "by_segment": {}, "curves": {}}
    instants = sorted(rows["as_of"].unique())
    by_origin = [{"origin": at.isoformat(), **judge(rows[rows["as_of"] == at])} for at in instants]
    there = answered(rows, list(pooled["baselines"]))
    baselines = {name: there[f"baseline.{name}"].to_numpy(float) for name in pooled["baselines"]}
    curves = curves_of(there["y"], there["p"], there["raw"], baselines)
    return {"pooled": pooled, "by_origin": by_origin, "by_segment": by_segment(rows, judge), "curves": curves}


def by_segment(rows: pd.DataFrame, judge: Callable[[pd.DataFrame], Result]) -> dict[str, dict[str, Result]]:
    """What ``judge`` says of each part of ``rows`` by tenure, channel, value and store; of many stores, the largest."""
    chosen = {name: _parts(rows[f"segment.{name}"]) for name in SEGMENTS if f"segment.{name}" in rows}
    return {
        name: {part: judge(rows[rows[f"segment.{name}"] == part]) for part in parts}
        for name, parts in chosen.items()
        if len(parts) > 1
    }


def _parts(column: pd.Series) -> list[str]:
    """The parts of a segmentation, largest first; of many, those that have most rows."""
    return [str(name) for name in column.value_counts().index if name != UNKNOWN][:MOST_STORES]


def measured(rows: pd.DataFrame, kind: str, contact: Contact, seed: int, most_work: int) -> Result:
    """Every metric of ours and of each baseline on ``rows`` of one head, and how much better ours is than the best.

    At the earliest origins there may be no label yet from which a baseline could be learned: baselines, and differences
    to them, are measured on the rows that all of them answer, and ours on all rows.

    Parameters
    ----------
    rows
        The columns of `Forecasts.frame`.
    kind
        ``probability`` or ``spend``.
    most_work
        Rows times forecasts times draws, which bounds the draws.

    Returns
    -------
    dict
        ``rows``, ``users``, ``draws``, ``ours``, ``baselines`` and ``best``: by metric the ``baseline`` whose value is
        best, and the paired ``difference``, above 0 where ours is better; and ``compared``: ``rows`` and ``origins`` of
        the baselines, and what ``ours`` is there. Only ``too_few`` where an interval would say nothing.
    """
    size = {"rows": len(rows), "users": int(rows["user_id"].nunique())}
    if (reason := _too_few(rows, kind)) is not None:
        return {**size, "too_few": reason}
    told, there = comparable(rows, kind)
    draws = draws_of(len(rows), len(told) + 1, most_work)
    drawn = _drawn(there, told, kind, contact, seed, draws)
    whole = drawn if len(there) == len(rows) else _drawn(rows, [], kind, contact, seed, draws)
    compared = [metric for metric in drawn.point[OURS] if metric not in NOT_COMPARED]
    best = {}
    for metric in compared if told else ():
        # The best of them by its own value: what ours must beat.
        other = min(told, key=lambda name: drawn.difference(OURS, name, metric).value)
        best[metric] = {"baseline": other, "difference": _json(drawn.difference(OURS, other, metric))}
    of = {name: {metric: _json(one) for metric, one in drawn.intervals(name).items()} for name in (OURS, *told)}
    ours = {metric: _json(one) for metric, one in whole.intervals(OURS).items()}
    where = {"rows": len(there) if told else 0, "origins": int(there["as_of"].nunique()) if told else 0, OURS: of[OURS]}
    baselines = {name: of[name] for name in told}
    return {**size, "draws": draws, OURS: ours, "baselines": baselines, "best": best, "compared": where}


def comparable(rows: pd.DataFrame, kind: str) -> tuple[list[str], pd.DataFrame]:
    """The baselines that can be compared on ``rows``, and the rows that all of them answer.

    A baseline that answers so few rows that nothing could be told there does not count; all rows when none does.
    """
    said = {str(name): int(count) for name, count in rows.filter(regex=r"^baseline\.").notna().sum().items() if count}
    names = [name.partition(".")[2] for name in sorted(said, key=lambda name: -said[name])]
    while names and _too_few(answered(rows, names), kind) is not None:
        names.pop()
    return names, answered(rows, names)


def answered(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Those of ``rows`` that each baseline of ``names`` answers."""
    return rows[rows[[f"baseline.{name}" for name in names]].notna().all(axis=1)] if names else rows


def draws_of(rows: int, forecasts: int, most_work: int) -> int:
    """How many draws of users ``most_work`` allows.

    Examples
    --------
    >>> draws_of(1000, 5, MOST_WORK), draws_of(10**6, 5, MOST_WORK)
    (200, 60)
    """
    return int(np.clip(most_work / (max(rows, 1) * forecasts), LEAST_RESAMPLES, RESAMPLES))


def _drawn(rows: pd.DataFrame, names: Sequence[str], kind: str, contact: Contact, seed: int, draws: int) -> Resampled:
    measures = {OURS: _measure(rows, rows["p"], rows["raw"], kind, contact)}
    for name in names:
        said = rows[f"baseline.{name}"]
        measures[name] = _measure(rows, said, said, kind, contact)
    return resample(measures, rows["user_id"].to_numpy(), draws, seed)


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
