"""What the interest model is asked, user by user: one item and one category of each, as serving would see them.

Pairs of one user resemble each other, so each user gives one pair per head: then shuffling users is shuffling rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.scoring.interest.model import FEATURES, InterestModel
from training.interest.histories import Histories, us
from training.monitor.calibration import HeadCalibration, calibration_shift
from training.monitor.reference import EARLIER, EXPLAINED_ROWS, Population, described

__all__ = ["category_calibration", "interest_population", "interest_reference"]

USERS = 1_000
CALIBRATION_USERS = 500
CANDIDATES = 50


def interest_population(model: InterestModel, histories: Histories, as_of: datetime, seed: int = 0) -> Population:
    """``item.<feature>`` and ``category.<feature>`` of at most 1,000 users with a history at ``as_of``."""
    at, rng = us(as_of), np.random.default_rng(seed)
    parts: dict[str, list[NDArray[np.float64]]] = {"item": [], "category": []}
    raws: dict[str, list[float]] = {"item": [], "category": []}
    for history in histories.at(at, _users(histories, at, USERS, rng)):
        items = model.candidates(history, at, CANDIDATES)
        categories = model.statistics["category"].items
        for head, codes in (("item", items), ("category", categories)):
            if not len(codes):
                continue
            one = codes[rng.integers(0, len(codes), 1)]
            scored = model.score_items(history, at, one) if head == "item" else model.score_categories(history, at, one)
            parts[head].append(scored.x[0])
            raws[head].append(float(scored.raw[0]))
    values: dict[str, NDArray[np.float64]] = {}
    for head, rows in parts.items():
        x = np.array(rows).reshape(-1, len(FEATURES))
        values |= {f"{head}.{name}": x[:, k] for k, name in enumerate(FEATURES)}
    return Population(as_of, values, {head: np.array(raw) for head, raw in raws.items()})


def interest_reference(
    model: InterestModel, histories: Histories, as_of: datetime, every_days: float
) -> dict[str, Any]:
    """``reference.json`` of an interest model; earlier instants are ``every_days`` apart."""
    earlier = [as_of - timedelta(days=every_days * k) for k in reversed(range(1, EARLIER // 2 + 1))]
    present, *past = (interest_population(model, histories, at) for at in (as_of, *earlier))
    return described(model.name, model.version, present, [one for one in past if one.rows], _weights(model, present))


def _weights(model: InterestModel, present: Population) -> dict[str, float]:
    """Each ``<head>.<feature>``'s share of the mean absolute contribution to the scores; together 1."""
    weights: dict[str, float] = {}
    for head in model.heads:
        x = np.column_stack([present.values[f"{head}.{name}"] for name in FEATURES])[:EXPLAINED_ROWS]
        mass = np.abs(model.contributions(head, x)[0]).mean(axis=0) if len(x) else np.zeros(len(FEATURES))
        shares = mass / max(float(mass.sum()), 1e-12) / len(model.heads)
        weights |= {f"{head}.{name}": float(share) for name, share in zip(FEATURES, shares, strict=True)}
    return weights


def category_calibration(
    model: InterestModel, histories: Histories, origins: Sequence[datetime], seed: int = 0
) -> HeadCalibration:
    """Whether the probabilities of all categories came true for at most 500 users at each origin."""
    rng, codes = np.random.default_rng(seed), model.statistics["category"].items
    p, raw, y, users = [], [], [], []
    for origin in origins:
        at = us(origin)
        chosen = _users(histories, at, CALIBRATION_USERS, rng)
        followed = histories.bought("category", at, at + round(model.horizon_days * 86_400e6))
        for user, history in zip(chosen.tolist(), histories.at(at, chosen), strict=True):
            scored = model.score_categories(history, at, codes)
            p.append(scored.p)
            raw.append(scored.raw)
            y.append(np.isin(codes, followed.code[followed.user == user]).astype(np.float64))
            users.append(np.full(len(codes), str(histories.users[user]), dtype=object))
    judged = model.meta.get("metrics", {}).get("category", {}).get("auroc", {}).get("ci")
    return calibration_shift(
        "category",
        np.concatenate(y),
        np.concatenate(p),
        np.concatenate(raw),
        np.concatenate(users),
        origins,
        (judged[0], judged[1]) if judged else None,
        seed,
    )


def _users(histories: Histories, at: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    seen = np.flatnonzero(histories.ends(at) > histories.start[:-1])
    return np.sort(rng.choice(seen, min(most, len(seen)), replace=False)) if len(seen) else seen
