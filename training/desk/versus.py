"""Two versions before the same people today: who moves up and down, and for what reasons each says what it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import Config
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from training.compare.today import FAR, Placed, moved_by, placed
from training.desk.card import SCHEMA, kind_of
from training.desk.files import write
from training.desk.sample import Sample
from training.explain import Scorer, contributions, features_of

__all__ = ["file_of", "versus_of", "write_versus"]

Floats = NDArray[np.float64]

POINTS, LISTED, EXAMPLES, EXPLAINED, ASKED = 500, 10, 4, 200, 20_000
STEP = 5.0
LEAST = 0.02  # a contribution nearer to 0 than this has no direction
OTHER_FEATURES = {
    "en": "The two read different features, so nobody can be put before both.",
    "zh": "两个版本使用的特征不同，无法用同一批人比较。",
}


def file_of(first: str) -> str:
    """The name of the file, in the second version's folder.

    Examples
    --------
    >>> file_of("3")
    'versus-3.json'
    """
    return f"versus-{first}.json"


def write_versus(config: Config, content: Mapping[str, Any]) -> Path:
    """Write what `versus_of` says to the desk of the second version."""
    return write(config.home, content["model"], content["second"], file_of(content["first"]), content)


def versus_of(
    first: Scorer,
    second: Scorer,
    sample: Sample,
    paired: Mapping[str, Any] | None = None,
    verdict: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """``versus-<first>.json``: what changes for those of ``sample`` when the second takes over.

    Contributions and base of an example add up to ``raw``, which in models of spend is that of the purchase.

    Parameters
    ----------
    paired, verdict
        What `userops compare` measured at past origins, where it did.
    """
    heads = [head for head in second.heads if head in first.heads and head in sample.x]
    same = all(features_of(first, head) == features_of(second, head) for head in heads)
    return {
        "schema": SCHEMA,
        "model": second.name,
        "first": first.version,
        "second": second.version,
        "as_of": sample.as_of.isoformat(),
        "kind": kind_of(second.name),
        "heads": {head: found for head in heads if (found := _head(first, second, head, sample))} if same else {},
        **({} if same else {"words": OTHER_FEATURES}),
        "paired": paired,
        "verdict": verdict,
    }


def _head(first: Scorer, second: Scorer, head: str, sample: Sample) -> dict[str, Any] | None:
    x, users, items = _asked(first, second, head, sample)
    if not len(x):
        return None
    one, other = placed(first, x, head), placed(second, x, head)
    moved = other.percentile - one.percentile
    # Equal moves in the order of the ids: the same question has the same answer.
    upwards = np.lexsort((users.astype(str), -moved))
    up = [row for row in upwards[:LISTED].tolist() if moved[row] > 0]
    down = [row for row in upwards[::-1][:LISTED].tolist() if moved[row] < 0]

    def listed(rows: list[int]) -> list[dict[str, Any]]:
        return [_named(users, items, row) | _both(one, other, row) for row in rows]

    edges = np.arange(-100.0, 100.0 + STEP, STEP)
    shown = _part(len(x), POINTS)
    return {
        "users": len(x),
        **moved_by(one, other),
        "far_points": FAR,
        "points": _rounded(np.column_stack([one.p[shown], other.p[shown]])),
        "moves": {"edges": edges.tolist(), "counts": np.histogram(moved, edges)[0].tolist()},
        "up": listed(up),
        "down": listed(down),
        "examples": _examples(first, second, head, x, users, items, _alternating(up, down)[:EXAMPLES], (one, other)),
        "changed": _changed(first, second, head, x[_part(len(x), EXPLAINED)]),
    }


def _asked(
    first: Scorer, second: Scorer, head: str, sample: Sample
) -> tuple[Floats, NDArray[np.object_], NDArray[np.object_] | None]:
    """Rows that both versions have an answer for."""
    x, users, items = sample.x[head], sample.users[head], sample.items.get(head)
    inside = np.ones(len(x), dtype=np.bool_)
    for model in (first, second):
        if isinstance(model, Model):
            inside &= model.in_cohort(x, head)
    rows = np.flatnonzero(inside)
    if isinstance(second, InterestModel):
        rows = rows[_part(len(rows), ASKED)]
    return x[rows], users[rows], None if items is None else items[rows]


def _examples(
    first: Scorer,
    second: Scorer,
    head: str,
    x: Floats,
    users: NDArray[np.object_],
    items: NDArray[np.object_] | None,
    rows: list[int],
    said: tuple[Placed, Placed],
) -> list[dict[str, Any]]:
    if not rows:
        return []
    names = features_of(second, head)
    told = [contributions(model, head, x[rows]) for model in (first, second)]
    examples = []
    for place, row in enumerate(rows):
        sides: list[dict[str, Any]] = [
            {
                "p": float(one.p[row]),
                "percentile": float(one.percentile[row]),
                "base": float(base[place]),
                "raw": float(base[place] + phi[place].sum()),
                "contributions": {name: float(c) for name, c in zip(names, phi[place], strict=True) if c},
            }
            for one, (phi, base) in zip(said, told, strict=True)
        ]
        moving = {name for side in sides for name in side["contributions"]}
        values = {name: float(v) for name, v in zip(names, x[row], strict=True) if name in moving}
        examples.append({**_named(users, items, row), "values": values, "first": sides[0], "second": sides[1]})
    return examples


def _changed(first: Scorer, second: Scorer, head: str, x: Floats) -> list[dict[str, Any]]:
    """By feature the mean absolute contribution in both, and for how many of the rows its direction changes."""
    names = features_of(second, head)
    one, other = (contributions(model, head, x)[0] for model in (first, second))
    first_mean, second_mean = np.abs(one).mean(axis=0), np.abs(other).mean(axis=0)
    flipped = ((one * other < 0) & (np.minimum(np.abs(one), np.abs(other)) > LEAST)).mean(axis=0)
    rows = [
        {
            "feature": name,
            "first": float(first_mean[k]),
            "second": float(second_mean[k]),
            "change": float(second_mean[k] - first_mean[k]),
            "flipped": float(flipped[k]),
        }
        for k, name in enumerate(names)
        if first_mean[k] or second_mean[k]
    ]
    return sorted(rows, key=lambda row: (-abs(row["change"]), row["feature"]))


def _part(n: int, most: int) -> NDArray[np.intp]:
    """At most ``most`` of n rows, drawn evenly, always the same ones, in their order."""
    return np.sort(np.random.default_rng(0).permutation(n)[:most])


def _alternating(up: list[int], down: list[int]) -> list[int]:
    """The furthest of either direction first."""
    pairs = [rows[place] for place in range(LISTED) for rows in (up, down) if place < len(rows)]
    return pairs


def _named(users: NDArray[np.object_], items: NDArray[np.object_] | None, row: int) -> dict[str, Any]:
    return {"user_id": str(users[row]), **({} if items is None else {"item": items[row]})}


def _both(one: Placed, other: Placed, row: int) -> dict[str, Any]:
    return {
        "percentile": [float(side.percentile[row]) for side in (one, other)],
        "p": [float(side.p[row]) for side in (one, other)],
    }


def _rounded(values: Floats) -> list[list[float]]:
    return [[float(f"{value:.5g}") for value in row] for row in values.tolist()]
