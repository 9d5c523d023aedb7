"""Which features and scores have moved since the training: further than time alone moves them, and than chance.

A shift counts as drift when all three hold:

* it is large: PSI above 0.25 and KS above 0.1 (PSI alone is large when a few users leave an edge), or KS above 0.2;
* it is unusual: above one and a half times what two instants of the training as far apart differ by. Tenure grows in
  every shop, and what grew as fast while the model learned is nothing new to it;
* it is no accident: shuffling the users between both sides reaches it in less than 5 % of cases, counted over all
  features and scores together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.periods import DAY
from training.monitor.counts import chance, count, ks, psi
from training.monitor.reference import Moved, Population, Reference

__all__ = ["Shift", "drifted_weight", "shifts"]

Floats = NDArray[np.float64]

LARGE_PSI, LARGE_KS = 0.25, 0.2
SMALL_KS = 0.1
SMALL_PSI = 0.1
UNUSUAL = 1.5
FALSE_ALARMS = 0.05
STATUSES = ("steady", "moved", "usual", "chance", "drifted", "calendar")


@dataclass(frozen=True)
class Shift:
    """How one feature (or score) stands to the reference.

    ``status`` is ``steady`` (PSI at most 0.1), ``moved`` (more, but not much), ``usual`` (much, but not for so long a
    time), ``chance`` (much, but too few users to tell), ``drifted``, or ``calendar``: one value for everybody, which
    says no more than what day it is.
    """

    name: str
    kind: str
    status: str
    psi: float
    ks: float
    usual_psi: float
    usual_ks: float
    p_value: float | None
    weight: float
    missing_before: float
    missing_now: float
    rows: int

    def as_json(self) -> dict[str, Any]:
        """The numbers, finite."""
        return asdict(self)


def shifts(reference: Reference, present: Population, seed: int = 0) -> list[Shift]:
    """Every feature and every score, those that drifted first and then by weight times PSI."""
    days = abs((present.as_of - reference.as_of) / DAY)
    everything = len(reference.features) + len(reference.scores)
    found = [
        *_each(reference.features, present.values, "feature", reference.as_of, days, everything, seed),
        *_each(reference.scores, present.scores, "score", reference.as_of, days, everything, seed),
    ]
    return sorted(found, key=lambda one: (one.status != "drifted", one.kind == "feature", -one.weight * one.psi))


def drifted_weight(found: Iterable[Shift]) -> float:
    """The share of the model's contributions that comes from features which drifted, in [0, 1]."""
    return min(1.0, sum(one.weight for one in found if one.kind == "feature" and one.status == "drifted"))


def _each(
    before: Mapping[str, Moved],
    now: Mapping[str, Floats],
    kind: str,
    as_of: datetime,
    days: float,
    questions: int,
    seed: int,
) -> list[Shift]:
    rng = np.random.default_rng(seed)
    return [_shift(name, kind, before[name], now[name], as_of, days, questions, rng) for name in before if name in now]


def _shift(
    name: str,
    kind: str,
    before: Moved,
    values: Floats,
    as_of: datetime,
    days: float,
    questions: int,
    rng: np.random.Generator,
) -> Shift:
    counts = count(values, before.edges)
    moved, apart = float(psi(before.counts, counts)), float(ks(before.counts, counts))
    usual_psi, usual_ks = before.usual(as_of, days)
    p_value = None
    if kind == "feature" and before.same_for_all and len(np.unique(values)) <= 1:
        status = "calendar"
    elif not (apart > LARGE_KS or (moved > LARGE_PSI and apart > SMALL_KS)):
        status = "steady" if moved <= SMALL_PSI else "moved"
    elif moved <= max(LARGE_PSI, UNUSUAL * usual_psi) and apart <= max(LARGE_KS, UNUSUAL * usual_ks):
        status = "usual"
    else:
        # Two statistics of every feature and score may cry wolf.
        level = FALSE_ALARMS / (2 * questions)
        p_value = min(chance(before.counts, counts, math.ceil(2 / level), rng))
        status = "drifted" if p_value < level else "chance"
    return Shift(
        name,
        kind,
        status,
        moved,
        apart,
        usual_psi,
        usual_ks,
        p_value,
        before.weight,
        _missing(before.counts),
        _missing(counts),
        int(counts.sum()),
    )


def _missing(counts: NDArray[np.int64]) -> float:
    return float(counts[-1] / max(int(counts.sum()), 1))
