"""Rows to learn from: one booster answers several horizons, so each user at each origin is asked several questions.

A family is what one booster learns: one label, one cohort, one or several horizons. Its rows are the users of the
cohort at every origin, once per horizon whose label window is over: recent origins teach the short horizons before the
long ones are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import ModelConfig
from features.periods import days_of
from serving.scoring.head import read_cohort
from training.labels import label, window

__all__ = ["Family", "Looked", "Rows", "families", "stack"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """One booster's task; ``horizons`` is empty when the label's window is a calendar month."""

    label: str
    cohort: str
    rule: Mapping[str, Any]
    heads: tuple[str, ...]
    horizons: tuple[float, ...]

    @property
    def name(self) -> str:
        """The booster's name: the label it learns."""
        return self.label

    @property
    def direction(self) -> int:
        """+1 when the label can only become truer with a longer horizon, -1 when only falser, 0 without a horizon."""
        return 0 if not self.horizons else -1 if self.label == "inactive" else 1

    def definition(self, horizon: float | None) -> dict[str, Any]:
        """The label's definition at one horizon, as `labels.label` reads it."""
        return {"label": self.label} if horizon is None else {"label": self.label, "horizon_days": horizon}


@dataclass(frozen=True)
class Looked:
    """Rows of a ``table``, float64[m, f], that are looked up when they are read; ``last``, if any, is one more column.

    A user is asked several questions, of which few are drawn to learn from: the features are copied for those alone.
    """

    table: Floats
    at: NDArray[np.intp]
    last: Floats | None

    def __getitem__(self, chosen: NDArray[Any]) -> Looked:
        return Looked(self.table, self.at[chosen], None if self.last is None else self.last[chosen])

    def read(self) -> Floats:
        """The rows, float64[n, f] or float64[n, f + 1]."""
        found = self.table[self.at]
        return found if self.last is None else np.column_stack([found, self.last])


@dataclass(frozen=True)
class Rows:
    """Stacked rows: features (the horizon last, where there is one), label, and where each row comes from.

    ``start`` and ``end`` bound the label window ``(start, end]`` and, like ``as_of``, count days since 1970 in UTC;
    ``horizon`` is 0 for a calendar month; ``y`` is NaN where the label is not known.
    """

    features: Floats | Looked
    y: Floats
    as_of: Floats
    start: Floats
    end: Floats
    horizon: Floats
    user: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def x(self) -> Floats:
        """The features, float64[n, f]."""
        return self.features.read() if isinstance(self.features, Looked) else self.features

    def where(self, chosen: NDArray[Any]) -> Rows:
        """The rows that a mask, or row numbers, choose."""
        return Rows(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def sampled(self, most: int, seed: int) -> Rows:
        """At most about ``most`` rows, drawn evenly; the same ones for the same seed."""
        if len(self) <= most:
            return self
        return self.where(np.random.default_rng(seed).random(len(self)) < most / len(self))


def families(model: ModelConfig) -> list[Family]:
    """The heads of a model, grouped by what one booster can answer; extra horizons for the waiting time included."""
    found: dict[tuple[str, str], list[str]] = {}
    for head, definition in model.heads.items():
        found.setdefault((definition["label"], definition["cohort"]), []).append(head)
    made = []
    for (name, cohort), heads in found.items():
        asked = [model.heads[head].get("horizon_days") for head in heads]
        horizons = {float(days) for days in asked if days is not None}
        if model.timing.get("head") in heads:
            horizons |= {float(days) for days in model.timing["horizons_days"]}
        made.append(Family(name, cohort, model.cohorts[cohort], tuple(heads), tuple(sorted(horizons))))
    return made


def stack(
    frame: pd.DataFrame,
    family: Family,
    features: Sequence[str],
    known_until: datetime | None,
    horizons: Sequence[float] | None = None,
) -> Rows:
    """The rows of ``family`` whose label windows are over at ``known_until``; all of them, unlabelled, when it is None.

    Parameters
    ----------
    frame
        A training set's frame: ``user_id``, ``as_of``, waiting times, features.
    horizons
        Which horizons to ask; all of the family when absent.
    """
    x = frame[list(features)].to_numpy(np.float64)
    inside = read_cohort(family.cohort, family.rule, features, family.name).contains(x, features)
    frame, x = frame[inside], x[inside]
    asked: Sequence[float | None] = (family.horizons if horizons is None else horizons) or (None,)
    parts = [_part(family, frame, horizon, known_until) for horizon in asked]
    at, *columns = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    horizon_of = columns[4]
    return Rows(Looked(x, at, horizon_of if asked[0] is not None else None), *columns)


def _part(family: Family, frame: pd.DataFrame, horizon: float | None, known_until: datetime | None) -> tuple[Any, ...]:
    as_of = pd.DatetimeIndex(frame["as_of"])
    start, end = window(family.definition(horizon), as_of)
    y = np.full(len(frame), np.nan)
    kept = np.ones(len(frame), dtype=bool)
    if known_until is not None:
        y = label(family.definition(horizon), frame, known_until)
        kept = ~np.isnan(y)
    column = np.full(int(kept.sum()), horizon or 0.0)
    instants = (days_of(instant)[kept] for instant in (as_of, start, end))
    return np.flatnonzero(kept), y[kept], *instants, column, frame["user_id"].to_numpy(object)[kept]
