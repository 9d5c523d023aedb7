"""What a model was given when it learned: one row of counts per feature and score, kept as ``reference.json``.

The reference is the population at the instant the model looks ahead from. Beside it stand earlier instants of its
training, counted at the same edges: they tell how much each feature moves by itself, in a week or in a year.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.periods import DAY, as_utc
from serving.scoring.model import Model
from training.monitor.counts import count, cut, ks, psi

__all__ = [
    "COHORT",
    "EARLIER",
    "EXPLAINED_ROWS",
    "FILE",
    "Moved",
    "Population",
    "Reference",
    "chosen",
    "described",
    "population",
    "reference_of",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FILE = "reference.json"
EARLIER = 8
EXPLAINED_ROWS = 300
SCORED_ROWS = 2_000
NEAR_DAYS = 7
#: Beside the scores: 1 for whom some head is for, 0 for the others.
COHORT = "in a cohort"


@dataclass(frozen=True)
class Population:
    """Whom a model is for at one instant: values per feature and raw scores per head, each float64[n] of its own.

    ``scores`` also holds `COHORT`, of everybody.
    """

    as_of: datetime
    values: Mapping[str, Floats]
    scores: Mapping[str, Floats]

    @property
    def rows(self) -> int:
        """How many users."""
        return max((len(one) for one in self.values.values()), default=0)


@dataclass(frozen=True)
class Moved:
    """Counts of one feature or score at the reference, its edges, its share of the model, and earlier counts."""

    edges: Floats
    counts: Ints
    weight: float
    seen: tuple[float | None, float | None]
    same_for_all: bool
    earlier: tuple[tuple[datetime, Ints], ...]

    def usual(self, as_of: datetime, days: float) -> tuple[float, float]:
        """The largest PSI and KS between two instants of the training about ``days`` apart; 0 when there are none."""
        instants = [*self.earlier, (as_of, self.counts)]
        pairs = [(abs((b - a) / DAY), x, y) for (a, x), (b, y) in combinations(instants, 2) if x.sum() and y.sum()]
        if not pairs:
            return 0.0, 0.0
        nearest = min(abs(apart - days) for apart, _, _ in pairs)
        # Instants lie on a grid: what is as near but for a few days counts too.
        near = [(x, y) for apart, x, y in pairs if abs(apart - days) <= nearest + NEAR_DAYS]
        return max(float(psi(x, y)) for x, y in near), max(float(ks(x, y)) for x, y in near)


@dataclass(frozen=True)
class Reference:
    """``reference.json``, read."""

    model: str
    version: str
    as_of: datetime
    rows: int
    features: Mapping[str, Moved]
    scores: Mapping[str, Moved]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Reference:
        """What `reference_of` wrote."""

        def moved(kind: str) -> dict[str, Moved]:
            return {
                name: Moved(
                    np.array(one["edges"]),
                    np.array(one["counts"], dtype=np.int64),
                    float(one["weight"]),
                    (one["seen"][0], one["seen"][1]),
                    bool(one["same_for_all"]),
                    tuple((as_utc(at), np.array(n, dtype=np.int64)) for at, n in one["earlier"].items()),
                )
                for name, one in content[kind].items()
            }

        at = as_utc(content["as_of"])
        return cls(content["model"], content["version"], at, content["rows"], moved("features"), moved("scores"))


def population(model: Model, frame: pd.DataFrame, as_of: datetime, seed: int = 0) -> Population:
    """The users of ``frame`` (a row each, with the model's features) that some head of ``model`` is for."""
    x = frame[list(model.features)].to_numpy(np.float64)
    inside = {head: model.in_cohort(x, head) for head in model.heads}
    anybody = np.any(list(inside.values()), axis=0) if inside else np.ones(len(x), dtype=np.bool_)
    scores = {COHORT: anybody.astype(np.float64)}
    for head, mask in inside.items():
        rows = np.flatnonzero(mask)
        if len(rows) > SCORED_ROWS:
            rows = np.random.default_rng(seed).choice(rows, SCORED_ROWS, replace=False)
        scores[head] = model.raw(x[rows], head)
    return Population(as_of, {name: x[anybody, k] for k, name in enumerate(model.features)}, scores)


def reference_of(model: Model, frame: pd.DataFrame, as_of: datetime) -> dict[str, Any]:
    """``reference.json`` of a trained model.

    Parameters
    ----------
    frame
        A training set's frame: ``as_of`` and the features, of the instants learned from and of ``as_of`` itself.
    as_of
        The instant that the model looks ahead from.
    """
    at = pd.DatetimeIndex(frame["as_of"])
    earlier = chosen([as_utc(one) for one in at.unique().to_pydatetime()], as_of)
    present, *past = (population(model, frame[at == pd.Timestamp(one)], one) for one in (as_of, *earlier))
    return described(model.name, model.version, present, past, _weights(model, present))


def chosen(instants: Sequence[datetime], as_of: datetime) -> list[datetime]:
    """At most eight of ``instants`` before ``as_of``, evenly from the first to the last, oldest first."""
    before = sorted(one for one in instants if one < as_of)
    return [before[k] for k in np.unique(np.linspace(0, len(before) - 1, EARLIER).astype(int))] if before else []


def described(
    model: str, version: str, present: Population, past: Sequence[Population], weights: Mapping[str, float]
) -> dict[str, Any]:
    """``reference.json`` of any model, from its population at the reference and at earlier instants."""
    return {
        "format": 1,
        "model": model,
        "version": version,
        "as_of": present.as_of.isoformat(),
        "rows": present.rows,
        "features": {
            name: _described(values, {one.as_of: one.values[name] for one in past}, weights[name])
            for name, values in present.values.items()
        },
        "scores": {
            head: _described(raw, {one.as_of: one.scores[head] for one in past}, 1.0)
            for head, raw in present.scores.items()
        },
    }


def _described(values: Floats, past: Mapping[datetime, Floats], weight: float) -> dict[str, Any]:
    edges = cut(values)
    every = [one[~np.isnan(one)] for one in (values, *past.values())]
    known = np.concatenate(every)
    return {
        "edges": edges.tolist(),
        "counts": count(values, edges).tolist(),
        "weight": weight,
        "seen": [float(known.min()), float(known.max())] if len(known) else [None, None],
        # The season and the shop's own rates: one value for everybody, which time moves and no user.
        "same_for_all": len(values) > 1 and any(map(len, every)) and all(len(np.unique(one)) <= 1 for one in every),
        "earlier": {at.isoformat(): count(one, edges).tolist() for at, one in past.items()},
    }


def _weights(model: Model, present: Population) -> dict[str, float]:
    """Each feature's share of the mean absolute contribution to the scores; together 1."""
    x = np.column_stack([present.values[name] for name in model.features])
    if len(x) > EXPLAINED_ROWS:
        x = x[np.random.default_rng(0).choice(len(x), EXPLAINED_ROWS, replace=False)]
    total = np.zeros(len(model.features))
    for phi, _ in model.explained(x, list(model.heads)).values():
        mass = np.abs(phi).mean(axis=0) if len(x) else np.zeros(len(total))
        total += mass / max(float(mass.sum()), 1e-12)
    return dict(zip(model.features, (total / max(float(total.sum()), 1e-12)).tolist(), strict=True))
