"""How one user's scores went over the last weeks: the models in force asked about each stored row of the user."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.catalog import NAMES, digest
from serving.console.snapshot_rows import row_of
from serving.scoring.value.model import ValueModel

if TYPE_CHECKING:
    from serving.answer import ServedModel

__all__ = ["History", "asked_then", "newest_snapshot", "rows_of"]

MOST, APART_DAYS = 8, 6.5
_STEM = "%Y-%m-%dT%H%M%SZ"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """By head, a score for each of ``as_ofs`` (ISO, oldest first, the last is the present); None outside its cohort.

    A score is a probability, or of the value model the expected spend.
    """

    as_ofs: list[str]
    heads: dict[str, list[float | None]] = field(default_factory=dict)


def rows_of(home: Path, user_id: str, as_of: datetime) -> tuple[list[datetime], Floats]:
    """Up to `MOST` - 1 stored rows of the user, days apart and before ``as_of``: instants, float64[n, f].

    Snapshots in which the user was not yet known, and those of another catalogue, are not among them.
    """
    before, chosen = as_of, list[tuple[datetime, Path]]()
    for at, path in reversed(_snapshots(home)):
        if before - at >= timedelta(days=APART_DAYS):
            chosen.append((at, path))
            before = at
        if len(chosen) == MOST - 1:
            break
    catalogue = digest()
    found = [(at, row_of(path, user_id, NAMES, catalogue)) for at, path in reversed(chosen)]
    known = [(at, row) for at, row in found if row is not None]
    return [at for at, _ in known], np.array([row for _, row in known]).reshape(-1, len(NAMES))


def newest_snapshot(home: Path) -> Path | None:
    """The newest file of everybody's features."""
    found = _snapshots(home)
    return found[-1][1] if found else None


def asked_then(served: ServedModel, as_ofs: list[datetime], rows: Floats) -> History:
    """What the model says of the rows (float64[n, f], catalogue order) for each of its heads."""
    model, x = served.model, np.ascontiguousarray(rows[:, served.columns])
    history = History([f"{at:%Y-%m-%dT%H:%M:%S}+00:00" for at in as_ofs])
    for head in model.heads:
        inside, scores = model.in_cohort(x, head), np.full(len(x), np.nan)
        if inside.any():
            own = x[inside]
            scores[inside] = (
                model.spend(own, [head])[head].expected
                if isinstance(model, ValueModel)
                else model.probability(own, head)
            )
        history.heads[head] = [None if np.isnan(score) else score for score in scores.tolist()]
    return history


def _snapshots(home: Path) -> list[tuple[datetime, Path]]:
    found = ((_instant(path.stem), path) for path in (home / "features" / "user").glob("[!.]*.parquet"))
    return sorted((at, path) for at, path in found if at is not None)


@lru_cache(maxsize=512)
def _instant(stem: str) -> datetime | None:
    try:
        return datetime.strptime(stem, _STEM).replace(tzinfo=UTC)
    except ValueError:
        return None  # no snapshot of ours
