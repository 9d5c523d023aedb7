"""How much customers move between tiers (`serving.scoring.value.tiers`), and what each tier really did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalog import NAMES
from serving.scoring.value.tiers import TIERS, Tiers
from training.dataset import TrainingSet
from training.stack import Rows, stack
from training.value.fit import FittedValue

__all__ = ["moved_since", "moves", "realised"]

Floats = NDArray[np.float64]


def moves(before: NDArray[np.intp], after: NDArray[np.intp]) -> dict[str, Any]:
    """How the same customers moved between two dates: the share that stayed, and where each tier went.

    Examples
    --------
    >>> moves(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]))["stayed"]
    0.75
    """
    count = np.zeros((len(TIERS), len(TIERS)))
    np.add.at(count, (before, after), 1)
    of_all = count / np.maximum(count.sum(1, keepdims=True), 1)
    return {
        "users": len(before),
        "stayed": float(np.trace(count) / max(count.sum(), 1)),
        "went": {a: {b: float(of_all[i, j]) for j, b in enumerate(TIERS)} for i, a in enumerate(TIERS)},
    }


def realised(tier: NDArray[np.intp], truth: Floats) -> dict[str, dict[str, float]]:
    """What each tier did: its share of customers and of all spend, the mean spend, the share that bought."""
    total = max(float(truth.sum()), 1e-12)
    found = {}
    for k, name in enumerate(TIERS):
        spent = truth[tier == k]
        found[name] = {
            "users": float(len(spent) / max(len(truth), 1)),
            "spend": float(spent.sum() / total),
            "mean_spend": float(spent.mean()) if len(spent) else float("nan"),
            "bought": float((spent > 0).mean()) if len(spent) else float("nan"),
        }
    return found


def moved_since(
    origin: datetime, tiers: Tiers, fitted: FittedValue, data: TrainingSet, today: Rows, tier: NDArray[np.intp]
) -> dict[str, Any]:
    """How the customers of ``today``, now in ``tier``, moved since ``origin``: today's model, the vectors of then.

    ``today`` holds one horizon, at which it was ``fitted``.
    """
    horizon = float(today.horizon[0])
    then = stack(data.at([origin]), fitted.chance.family, NAMES, None, [horizon])
    was = tiers.of(fitted.expected(then.x, horizon), then.x[:, NAMES.index(tiers.rules.recency)])
    place = pd.Index(today.user).get_indexer(pd.Index(then.user))
    return moves(was[place >= 0], tier[place[place >= 0]])
