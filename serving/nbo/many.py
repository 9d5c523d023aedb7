"""The likelihood that each of many users buys something of one target: the scores of ``scorer``, for all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from configs.history import History, code
from serving.scoring.interest.features import featurise
from serving.scoring.interest.model import InterestModel, as_head

__all__ = ["score_many"]

Floats = NDArray[np.float64]


def score_many(
    model: InterestModel, items: Sequence[str], categories: Sequence[str], histories: Sequence[History], at_us: int
) -> tuple[Floats, Floats]:
    """The calibrated probability and the percentile of the likeliest member, float64[n] each; combined as in scorer."""
    parts = [(head, names) for head, names in (("item", items), ("category", categories)) if names and histories]
    if not parts:
        return np.zeros(len(histories)), np.zeros(len(histories))
    found = [_head(model, head, names, histories, at_us) for head, names in parts]
    p = np.max([one[0] for one in found], axis=0)
    percentile = np.max([one[1] for one in found], axis=0)
    return p, percentile


def _head(
    model: InterestModel, head: str, names: Sequence[str], histories: Sequence[History], at_us: int
) -> tuple[Floats, Floats]:
    one = model.heads[head]
    codes = np.array([code(name) for name in names], np.int64)
    groups = np.array([model.category_of(int(number)) for number in codes], np.int64) if head == "item" else codes
    seen = [as_head(history, head) for history in histories]
    x = featurise(model.statistics[head], seen, at_us, [codes] * len(seen))
    # The columns that scoring one user adds: see InterestModel._scored.
    needs = np.vstack([model.need_columns(history, at_us, groups) for history in histories])
    raw = one.raw(np.column_stack([x, needs]))
    p = one.probability(raw)[0].reshape(len(histories), len(names))
    percentile = one.percentile(raw).reshape(len(histories), len(names)).max(axis=1)
    return p[:, 0] if len(names) == 1 else 1.0 - np.prod(1.0 - p, axis=1), percentile
