"""Two versions asked about the same users today: what weighs in each, who moves up and down, what an answer costs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serving.scoring.folder import file_names
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from serving.scoring.value.model import ValueModel
from training.compare.sides import Side
from training.explain import Scorer

__all__ = ["FAR", "Placed", "cost", "moved_by", "moves", "placed", "weights"]

Floats = NDArray[np.float64]

REPEATS = 200
# A user who moves further than this among all users is told apart from the trembling of two fits.
FAR = 10.0
MOST = 12


@dataclass(frozen=True)
class Placed:
    """What one version says of n users: ``p``, a probability or an expected spend, and its percentile in [0, 100]."""

    p: Floats
    percentile: Floats


def weights(sides: tuple[Side, Side], x: Floats) -> list[dict[str, Any]]:
    """The share of each feature in the mean |SHAP value| over all heads, in both; those that changed most first.

    ``x`` is float64[n, f] with the columns of the catalogue, as both models read them; SHAP values are exact.
    """
    first, second = (_shares(side, x) for side in sides)
    names = sorted(set(first) | set(second))
    rows: list[dict[str, Any]] = [
        {"feature": name, "first": first.get(name, 0.0), "second": second.get(name, 0.0)} for name in names
    ]
    for row in rows:
        row["change"] = row["second"] - row["first"]
    return sorted(rows, key=lambda row: (-abs(row["change"]), row["feature"]))


def moves(sides: tuple[Side, Side], x: Floats, users: NDArray[np.object_]) -> dict[str, dict[str, Any]]:
    """By head: how percentiles move from the first to the second, and who moves furthest.

    ``far`` is the share of users that move by more than 10 points; ``rank_correlation`` is Spearman's.
    """
    models = _model(sides[0]), _model(sides[1])
    found = {}
    for head in (name for name in models[0].heads if name in models[1].heads):
        inside = np.logical_and(*(model.in_cohort(x, head) for model in models))
        if not inside.any():
            continue
        first, second = (placed(model, x[inside], head) for model in models)
        named, moved = users[inside], second.percentile - first.percentile
        furthest = np.argsort(-np.abs(moved), kind="stable")[:MOST]
        found[head] = {
            "users": int(inside.sum()),
            **moved_by(first, second),
            "furthest": [
                {
                    "user_id": str(named[row]),
                    "percentile": [float(one.percentile[row]) for one in (first, second)],
                    "p": [float(one.p[row]) for one in (first, second)],
                }
                for row in furthest.tolist()
            ],
        }
    return found


def moved_by(first: Placed, second: Placed) -> dict[str, float]:
    """The mean move in percentile points, the share that moves ``far``, and Spearman's correlation of the two orders.

    Examples
    --------
    >>> one, p = np.array([10.0, 90.0]), np.array([0.1, 0.2])
    >>> found = moved_by(Placed(p, one), Placed(p, one + [20, 0]))
    >>> found["mean_move"], found["far"], round(found["rank_correlation"], 6)
    (10.0, 0.5, 1.0)
    """
    moved = np.abs(second.percentile - first.percentile)
    orders = pd.Series(first.percentile), pd.Series(second.percentile)
    same = all(order.nunique() < 2 for order in orders)
    return {
        "mean_move": float(moved.mean()),
        "far": float((moved > FAR).mean()),
        "rank_correlation": 1.0 if same else float(orders[0].corr(orders[1], method="spearman")),
    }


def cost(side: Side, x: Floats) -> dict[str, float]:
    """Bytes on disk, trees, and the median microseconds of one user's answer over all heads, one thread."""
    content = {
        "bytes": float(sum((side.folder / Path(name)).stat().st_size for name in file_names(side.meta))),
        "trees": float(sum(text.count("\nTree=") for text in _texts(side))),
    }
    if not isinstance(side.model, Model) or not len(x):
        return content
    heads = list(side.model.heads)
    taken = []
    for place in range(REPEATS):
        row = x[[place % len(x)]]
        started = time.perf_counter()
        side.model.raws(row, heads)
        taken.append(time.perf_counter() - started)
    return {**content, "us_per_score": 1e6 * float(np.median(taken))}


def _shares(side: Side, x: Floats) -> dict[str, float]:
    model = _model(side)
    inside = {head: x[model.in_cohort(x, head)] for head in model.heads}
    total = np.zeros(len(model.features))
    for head, rows in inside.items():
        phi, _ = model.contributions(rows, head)
        if len(rows) and (whole := np.abs(phi).mean(axis=0)).sum() > 0:
            total += whole / whole.sum()
    if total.sum() > 0:
        total /= total.sum()
    return dict(zip(model.features, total.tolist(), strict=True))


def placed(model: Scorer, x: Floats, head: str) -> Placed:
    """What a head says of rows of its cohort, and the percentile of each among those it was trained with."""
    if isinstance(model, InterestModel):
        one = model.heads[head]
        raw = one.raw(x)
        return Placed(one.calibrator(raw), one.percentile(raw))
    if isinstance(model, ValueModel):
        expected = model.spend(x, [head])[head].expected
        return Placed(expected, model.spend_percentile(expected, head))
    raw = model.raw(x, head)
    return Placed(model.heads[head].calibrator(raw), model.percentile(raw, head))


def _model(side: Side) -> Model:
    assert isinstance(side.model, Model)
    return side.model


def _texts(side: Side) -> list[str]:
    return [(side.folder / one["file"]).read_text(encoding="utf-8") for one in side.meta["boosters"].values()]
