"""What the models in force say of the user as a whole: scores, and the life-cycle state that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.answer import ServedModel
from serving.scoring.value.model import NAME as VALUE
from serving.scoring.value.model import ValueModel

__all__ = ["AT_RISK", "lifecycle_state", "user_scores", "user_state", "value_tier"]

CHURN = ("p_inactive_14d", "p_inactive_30d", "p_inactive_60d")
HEADS = {"churn": CHURN, "repurchase": ("p_repurchase_90d",)}
AT_RISK = 0.5  # an active user who will rather than not be silent for 30 days


def user_scores(models: Mapping[str, ServedModel], vector: NDArray[np.float64] | None) -> dict[str, float | None]:
    """The calibrated probability of every head that a decision may look at; of the value model, the expected spend.

    None where the release has no such head, the user is unknown (``vector`` None) or not in its cohort. Of the value
    model only the head that makes the tiers is asked.
    """
    scores: dict[str, float | None] = {head: None for heads in HEADS.values() for head in heads}
    value = _value_model(models)
    if value is not None:
        scores[value.tiers.rules.head] = None
    if vector is None:
        return scores
    if value is not None:
        head, x = value.tiers.rules.head, np.ascontiguousarray(vector[models[VALUE].columns])[None, :]
        if value.in_cohort(x, head)[0]:
            scores[head] = float(value.spend(x, [head])[head].expected[0])
    for name, heads in HEADS.items():
        if name not in models:
            continue
        served = models[name]
        x = np.ascontiguousarray(vector[served.columns])[None, :]
        model = served.model
        asked = {head: model.heads[head].cohort for head in heads if head in model.heads}
        each = {cohort: head for head, cohort in asked.items()}
        within = {cohort: bool(model.in_cohort(x, head)[0]) for cohort, head in each.items()}
        inside = [head for head, cohort in asked.items() if within[cohort]]
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


def value_tier(
    models: Mapping[str, ServedModel], vector: NDArray[np.float64] | None, scores: Mapping[str, float | None]
) -> str | None:
    """Potential, core or dormant, from the expected spend in ``scores``; None where `user_scores` has none."""
    value = _value_model(models)
    expected = None if value is None else scores.get(value.tiers.rules.head)
    if value is None or vector is None or expected is None:
        return None
    return value.tier(vector[models[VALUE].columns][None, :], np.array([expected]))[0]


def _value_model(models: Mapping[str, ServedModel]) -> ValueModel | None:
    served = models.get(VALUE)
    return served.model if served is not None and isinstance(served.model, ValueModel) else None


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
