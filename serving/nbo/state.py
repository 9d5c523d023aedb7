"""What the models in force say of the user as a whole: scores, and the life-cycle state that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.answer import ServedModel

__all__ = ["AT_RISK", "lifecycle_state", "user_scores", "user_state"]

CHURN = ("p_inactive_14d", "p_inactive_30d", "p_inactive_60d")
HEADS = {"churn": CHURN, "repurchase": ("p_repurchase_90d",)}
AT_RISK = 0.5  # an active user who will rather than not be silent for 30 days


def user_scores(models: Mapping[str, ServedModel], vector: NDArray[np.float64] | None) -> dict[str, float | None]:
    """The calibrated probability of every head that a decision may look at.

    None where the release has no such head, the user is unknown (``vector`` None) or not in its cohort.
    """
    scores: dict[str, float | None] = {head: None for heads in HEADS.values() for head in heads}
    if vector is None:
        return scores
    for name, heads in HEADS.items():
        if name not in models:
            continue
        served = models[name]
        x = np.ascontiguousarray(vector[served.columns])[None, :]
        model = served.model
        inside = [head for head in heads if head in model.heads and model.in_cohort(x, head)[0]]
        if inside:
            for head, raw in model.raws(x, inside).items():
                scores[head] = float(model.heads[head].calibrator(raw)[0])
    return scores


def lifecycle_state(published: str | None, scores: Mapping[str, float | None], at_risk: float = AT_RISK) -> str | None:
    """The published state, but ``at_risk`` for an active user of whom the churn model says so.

    Examples
    --------
    >>> lifecycle_state("active", {"p_inactive_30d": 0.6}), lifecycle_state("dormant", {"p_inactive_30d": 0.9})
    ('at_risk', 'dormant')
    """
    silent = scores.get("p_inactive_30d")
    return "at_risk" if published == "active" and silent is not None and silent >= at_risk else published


def user_state(
    state: str | None, value_tier: str | None, scores: Mapping[str, float | None], last_events: list[str]
) -> dict[str, Any]:
    """The ``user_state`` block of an answer."""
    return {
        "lifecycle_state": state,
        "value_tier": value_tier,
        "churn": {head: scores.get(head) for head in CHURN},
        "p_repurchase_90d": scores.get("p_repurchase_90d"),
        "last_events": last_events,
    }
