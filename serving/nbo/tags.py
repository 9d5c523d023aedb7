"""Interest tags: the categories of which a user will more likely buy something than most users, until they expire.

A tag is named ``interest:<category_id>``. It is given to at most `MOST` categories whose score lies above that of
`PERCENTILE` % of the reference pairs of user and category, and not while the need is satisfied.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from configs.history import History
from serving.batch import iso
from serving.nbo.reasons import because
from serving.schemas_interest import PREFIX
from serving.scoring.interest.model import FEATURES, InterestModel, Scored

__all__ = ["PREFIX", "interest_tags", "interests_of", "own_categories", "tag_scores"]

MOST = 5
PERCENTILE = 75.0
FEW_CATEGORIES = 200
_SATISFIED = FEATURES.index("need_satisfied")
_DAY_US = 86_400_000_000


def own_categories(model: InterestModel, history: History, at_us: int) -> Scored:
    """Every category where the shop has few of them, otherwise those that the user had to do with."""
    if len(model.statistics["category"].items) <= FEW_CATEGORIES:
        return model.score_categories(history, at_us)
    return model.score_categories(history, at_us, np.unique(history.category[history.category != 0]))


def interests_of(model: InterestModel, history: History, at_us: int, scored: Scored) -> dict[str, float]:
    """A rough propensity per category_id, and per item_id of the items that the user will most likely want."""
    items = model.score_items(history, at_us, model.candidates(history, at_us))
    codes, ps = scored.codes.tolist() + items.codes.tolist(), scored.p.tolist() + items.p.tolist()
    named = ((model.text(number), p) for number, p in zip(codes, ps, strict=True))
    return {name: p for name, p in named if name is not None}


def _tagged(
    model: InterestModel, history: History, at_us: int, scored: Scored, deleted: Collection[str]
) -> list[tuple[int, str, float]]:
    """Row, category_id and percentile of every tag, the strongest first."""
    if not len(history):
        return []  # what everybody likes says nothing about this user
    percentiles = model.heads[scored.head].percentile(scored.raw)
    satisfied = scored.x[:, _SATISFIED] == 1.0
    tagged: list[tuple[int, str, float]] = []
    for row in np.argsort(-scored.raw, kind="stable").tolist():
        if len(tagged) == MOST or percentiles[row] < PERCENTILE:
            break
        category = int(scored.codes[row])
        name = model.text(category)
        if name is None or PREFIX + name in deleted or satisfied[row]:
            continue
        tagged.append((row, name, float(percentiles[row])))
    return tagged


def tag_scores(
    model: InterestModel, history: History, at_us: int, scored: Scored, deleted: Collection[str]
) -> dict[str, float]:
    """Every tag with its calibrated probability: what rules see."""
    tagged = _tagged(model, history, at_us, scored, deleted)
    return {PREFIX + name: float(scored.p[row]) for row, name, _ in tagged}


def interest_tags(
    model: InterestModel, history: History, at_us: int, scored: Scored, deleted: Collection[str], lang: str
) -> list[dict[str, Any]]:
    """Every tag with all that is told of it."""
    valid_until = iso(at_us + round(model.horizon_days * _DAY_US))
    told = []
    past = model.past(history, at_us)
    for row, name, percentile in _tagged(model, history, at_us, scored, deleted):
        reason = because(model, past, int(scored.codes[row]), lang)
        told.append(
            {
                "tag": PREFIX + name,
                "scenario": "interest",
                "entity": "user_category",
                "category_id": name,
                "score": float(scored.p[row]),
                "percentile": round(percentile, 2),
                "valid_until": valid_until,
                "model_version": model.version,
                "text": None if reason is None else reason["text"],
            }
        )
    return told
