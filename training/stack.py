"""Rows to learn from: one booster answers several horizons, so each user at each origin is asked several questions.

A family is what one booster learns: one label, one cohort, one or several horizons. Its rows are the users of the
cohort at every origin, once per horizon whose label window is over: recent origins teach the short horizons before the
long ones are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import ModelConfig
from serving.scoring.head import read_cohort
from training.labels import label

__all__ = ["Family", "Rows", "families", "population", "stack"]

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
class Rows:
    """Stacked rows: features (the horizon last, where there is one), label, and where each row comes from."""

    x: Floats
    y: Floats
    as_of: NDArray[np.datetime64]
    horizon: Floats
    user: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.y)

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """The rows that ``mask`` keeps."""
        return Rows(self.x[mask], self.y[mask], self.as_of[mask], self.horizon[mask], self.user[mask])


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
    known_until: datetime,
    horizons: Sequence[float] | None = None,
) -> Rows:
    """The rows of ``family`` whose label windows are over at ``known_until``.

    Parameters
    ----------
    frame
        A training set's frame: ``user_id``, ``as_of``, waiting times, features.
    horizons
        Which horizons to ask; all of the family when absent.
    """
    frame, x = _cohort(frame, family, features)
    as_of = pd.DatetimeIndex(frame["as_of"]).tz_localize(None).to_numpy()
    asked: Sequence[float | None] = (family.horizons if horizons is None else horizons) or (None,)
    parts = [_part(family, frame, x, as_of, horizon, known_until) for horizon in asked]
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    return Rows(*joined)


def population(frame: pd.DataFrame, family: Family, features: Sequence[str], horizon: float | None) -> Floats:
    """What the booster sees of everybody in the cohort, whether or not the label is known; float64[n, f or f + 1]."""
    _, x = _cohort(frame, family, features)
    return x if horizon is None else np.column_stack([x, np.full(len(x), horizon)])


def _cohort(frame: pd.DataFrame, family: Family, features: Sequence[str]) -> tuple[pd.DataFrame, Floats]:
    x = frame[list(features)].to_numpy(np.float64)
    inside = read_cohort(family.cohort, family.rule, features, family.name).contains(x, features)
    return frame[inside], x[inside]


def _part(
    family: Family,
    frame: pd.DataFrame,
    x: Floats,
    as_of: NDArray[np.datetime64],
    horizon: float | None,
    known_until: datetime,
) -> tuple[Any, ...]:
    y = label(family.definition(horizon), frame, known_until)
    known = ~np.isnan(y)
    column = np.full(int(known.sum()), np.nan if horizon is None else horizon)
    wide = x[known] if horizon is None else np.column_stack([x[known], column])
    return wide, y[known], as_of[known], column, frame["user_id"].to_numpy(object)[known]
