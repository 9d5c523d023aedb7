"""Two versions asked about the same users today: what weighs in each, who moves up and down, what an answer costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serving.scoring.folder import file_names
from serving.scoring.model import Model
from serving.scoring.value.model import ValueModel
from training.compare.sides import Side

__all__ = ["cost", "moves", "weights"]

Floats = NDArray[np.float64]

REPEATS = 200
# A user who moves further than this among all users is told apart from the trembling of two fits.
FAR = 10.0
MOST = 12


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
    models = [side.model for side in sides]
    found = {}
    for head in (name for name in models[0].heads if name in models[1].heads):
        inside = np.logical_and(*(_model(side).in_cohort(x, head) for side in sides))
        if not inside.any():
            continue
        (p_first, at_first), (p_second, at_second) = (_placed(_model(side), x[inside], head) for side in sides)
        moved = at_second - at_first
        furthest = np.argsort(-np.abs(moved), kind="stable")[:MOST]
        listed = zip(
            *(column[furthest] for column in (users[inside], at_first, at_second, p_first, p_second)), strict=True
        )
        found[head] = {
            "users": int(inside.sum()),
            "mean_move": float(np.abs(moved).mean()),
            "far": float((np.abs(moved) > FAR).mean()),
            "rank_correlation": float(pd.Series(at_first).corr(pd.Series(at_second), method="spearman")),
            "furthest": [
                {"user_id": str(user), "percentile": [float(a), float(b)], "p": [float(p), float(q)]}
                for user, a, b, p, q in listed
            ],
        }
    return found


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


def _placed(model: Model, x: Floats, head: str) -> tuple[Floats, Floats]:
    if isinstance(model, ValueModel):
        expected = model.spend(x, [head])[head].expected
        return expected, model.spend_percentile(expected, head)
    raw = model.raw(x, head)
    return model.heads[head].calibrator(raw), model.percentile(raw, head)


def _model(side: Side) -> Model:
    assert isinstance(side.model, Model)
    return side.model


def _texts(side: Side) -> list[str]:
    return [(side.folder / one["file"]).read_text(encoding="utf-8") for one in side.meta["boosters"].values()]
