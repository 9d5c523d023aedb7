"""``model.json`` of a value model: what `serving.scoring.value.model` reads, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from configs import ModelConfig
from features.catalog import NAMES, digest
from serving.scoring.value.forecast import LEVELS
from serving.scoring.value.model import NAME
from serving.scoring.value.tiers import Tiers
from training.boost import raw_scores
from training.value.forecast import Learned

__all__ = ["BOOSTERS", "boosters_of", "describe_value"]

BOOSTERS = ("purchase", "amount")


def boosters_of(learned: Learned) -> dict[str, str]:
    """The LightGBM text of both boosters."""
    both = (learned.fitted.chance.booster, learned.fitted.booster)
    return {name: one.model_to_string() for name, one in zip(BOOSTERS, both, strict=True)}


def describe_value(
    model: ModelConfig,
    learned: Learned,
    tiers: Tiers,
    metrics: Mapping[str, Mapping[str, Any]],
    evidence: Mapping[str, Any],
    version: str,
    run_id: str,
    created_at: datetime,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that serving needs to answer; percentiles and cold start refer to ``learned.today``.

    ``origin`` is what `artifact.provenance` says.
    """
    purchase, amount = BOOSTERS
    fitted, today = learned.fitted, learned.today
    heads, cold_start = {}, {}
    for head, definition in model.heads.items():
        horizon = float(definition["horizon_days"])
        x = today.x[today.horizon == horizon]
        expected = fitted.expected(x, horizon)
        heads[head] = {
            "booster": purchase,
            "cohort": definition["cohort"],
            "horizon_days": horizon,
            "judged": head in metrics,  # else its judgement is missing, and the gate says so
            "calibrator": fitted.chance.platt.at(horizon),
            "raw_percentiles": np.quantile(raw_scores(fitted.chance.booster, x), LEVELS).tolist(),
            "spend_percentiles": np.quantile(expected, LEVELS).tolist(),
        }
        cold_start[head] = float(expected.mean())
    return {
        "name": NAME,
        "version": version,
        "run_id": run_id,
        "purpose": model.purpose,
        "features": list(NAMES),
        "catalogue_digest": digest(),
        "boosters": {name: {"horizon_column": True, "monotone": "increasing"} for name in BOOSTERS},
        "heads": heads,
        "amount": {
            "booster": amount,
            "constants": {head: fitted.constants[float(one["horizon_days"])] for head, one in model.heads.items()},
            "ratios": fitted.ratios.tolist(),
        },
        "tiers": tiers.as_json(),
        "cohorts": {name: dict(one) for name, one in model.cohorts.items()},
        "cold_start": cold_start,
        "maturity": _maturity(fitted.log["buyers"]),
        "metrics": metrics,
        "training": dict(evidence),
        **origin,
        "created_at": created_at.isoformat(),
    }


def _maturity(buyers: int) -> str:
    """``mature`` from 1,000 windows with an amount on, else ``young``: with fewer than 200 nothing is learned."""
    return "mature" if buyers >= 1000 else "young"
