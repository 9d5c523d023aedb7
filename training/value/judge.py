"""How good is the value procedure? Each head on what followed a past origin, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from configs import ModelConfig
from configs.errors import TrainingError
from serving.scoring.value.tiers import TierRules, Tiers
from training.curves import curves_of
from training.evaluate import evaluate
from training.splits import Split, split_at
from training.value.baselines import BASELINES
from training.value.forecast import Foreseen
from training.value.measures import MEASURES, spend_metrics
from training.value.tiers import realised

__all__ = ["JudgedValue", "judge_value", "split_of", "tiers_held"]

RESAMPLES = 200


@dataclass(frozen=True)
class JudgedValue:
    """By head: measures of spend and of a purchase's probability, those of the baselines, curves of expected spend."""

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    baselines: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)


def split_of(model: ModelConfig, first_event: datetime, known_until: datetime) -> Split:
    """The split at which the longest horizon that can be judged is judged, and every shorter one.

    A horizon can be judged when as much history lies before the judged origin as it looks ahead: a year is not foreseen
    from three months. The shortest is judged wherever `split_at` finds three origins to learn from.

    Examples
    --------
    >>> from configs import load
    >>> from features.periods import as_utc
    >>> value, first = load().models["value"], as_utc("2024-01-01")
    >>> [f"{split_of(value, first, as_utc(day)).judge:%Y-%m-%d}" for day in ("2024-12-01", "2026-06-01")]
    ['2024-09-02', '2025-05-12']
    """
    horizons = sorted(float(definition["horizon_days"]) for definition in model.heads.values())
    while len(horizons) > 1:
        try:
            split = split_at(model.origins, horizons, first_event, known_until)
        except TrainingError:
            horizons.pop()
            continue
        if split.judge - first_event >= timedelta(days=horizons[-1]):
            return split
        horizons.pop()
    return split_at(model.origins, horizons, first_event, known_until)


def judge_value(told: Sequence[Foreseen], seed: int) -> JudgedValue:
    """Measure every head of ``told``; a metric ``vs_<baseline>.<measure>`` is above 0 where ours is better.

    ``auroc``, ``log_loss`` and what else has to do with a probability are those of a purchase within the horizon.
    """
    judged = JudgedValue()
    for one in told:
        forecasts = {"expected": one.spend.expected, "typical": one.spend.quantile(0.5), **one.others}
        against = {f"vs_{name}": f"expected {name}" for name in BASELINES}
        found = spend_metrics(one.truth, forecasts, against, RESAMPLES, seed)
        bought = (one.truth > 0).astype(float)
        chance = evaluate(bought, one.spend.p, one.rows.user, seed=seed) if 0 < bought.mean() < 1 else {}
        judged.metrics[one.head] = {
            **{name: value.as_json() for name, value in found["expected"].items()},
            "typical_mae": found["typical"]["mae"].as_json(),
            **{
                f"vs_{name}.{measure}": found[f"vs_{name}"][measure].as_json()
                for name in BASELINES
                for measure in MEASURES
            },
            **{name: value.as_json() for name, value in chance.items()},
            "mean_spend": {"value": float(one.truth.mean()), "ci": None},
            "below_90_percent_quantile": {
                "value": float((one.truth <= one.spend.quantile(0.9)).mean()),
                "ci": None,
            },
        }
        judged.baselines[one.head] = {
            name: {measure: found[name][measure].value for measure in MEASURES} for name in BASELINES
        }
        judged.curves[one.head] = curves_of(one.truth, one.spend.expected, one.spend.expected, one.others)
    return judged


def tiers_held(rules: TierRules, told: Foreseen, features: Sequence[str]) -> dict[str, Any]:
    """What the tiers of a past origin, from the forecast of ``told``, really did within its horizon."""
    expected = told.spend.expected
    silence = told.rows.x[:, list(features).index(rules.recency)]
    tier = Tiers.fit(rules, expected).of(expected, np.asarray(silence))
    return {"head": told.head, "users": len(told.rows), "did": realised(tier, told.truth)}
