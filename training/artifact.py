"""``model.json`` of a training run: what serving reads (`serving.scoring.model`), and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from configs import Config, ModelConfig
from configs.account import account
from features.catalog import NAMES, digest
from training.models import Fitted, raw_scores
from training.revision import revision
from training.stack import Rows

__all__ = ["describe", "provenance"]


def provenance(
    config: Config,
    lightgbm: Mapping[str, Any],
    known_until: datetime,
    features: Sequence[str] = NAMES,
    seed: int | None = None,
) -> dict[str, Any]:
    """What every ``model.json`` says of how to fit the same again, what it has seen, and who did it.

    ``recipe`` is what makes one procedure differ from another: LightGBM's parameters over the defaults, the features
    and the seed. Labels after ``known_until`` were not seen: a judgement of this very version is honest from there on.
    """
    return {
        "recipe": {
            "lightgbm": dict(lightgbm),
            "features": list(features),
            "seed": config.seed if seed is None else seed,
        },
        "known_until": known_until.isoformat(),
        "trained_by": config.user,
        "trained_by_account": account(),
        "code": revision(),
    }


def describe(
    model: ModelConfig,
    today: Mapping[str, Rows],
    fitted: Sequence[Fitted],
    metrics: Mapping[str, Mapping[str, Any]],
    evidence: Mapping[str, Any],
    version: str,
    run_id: str,
    created_at: datetime,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that serving needs to answer, and that a reviewer needs to trust the answer.

    ``today`` holds each family's cohort at the instant the model looks ahead from: percentiles refer to it.
    ``origin`` is the version's `provenance`.
    """
    heads, cold_start, timing = {}, {}, {}
    for one in fitted:
        family = one.family
        for head in family.heads:
            horizon = model.heads[head].get("horizon_days")
            rows = today[family.name]
            raw = raw_scores(one.booster, rows.x[rows.horizon == (horizon or 0.0)])
            heads[head] = {
                "booster": family.name,
                "cohort": family.cohort,
                "calibrator": one.platt.at(horizon or 0.0),
                "raw_percentiles": np.quantile(raw, np.linspace(0, 1, 101)).tolist(),
                **({"horizon_days": float(horizon)} if horizon is not None else {}),
            }
            cold_start[head] = float(metrics[head]["base_rate"]["value"])
        if model.timing.get("head") in family.heads:
            days = [float(h) for h in model.timing["horizons_days"]]
            timing = {
                "head_grid": {
                    "booster": family.name,
                    "horizons_days": days,
                    "calibrator": [one.platt.at(h) for h in days],
                }
            }
    return {
        "name": model.name,
        "version": version,
        "run_id": run_id,
        "purpose": model.purpose,
        "features": list(NAMES),
        "catalogue_digest": digest(),
        "boosters": {
            one.family.name: {
                "horizon_column": bool(one.family.horizons),
                **(
                    {"monotone": "increasing" if one.family.direction > 0 else "decreasing"}
                    if one.family.direction
                    else {}
                ),
            }
            for one in fitted
        },
        "heads": heads,
        "cohorts": {one.family.cohort: dict(one.family.rule) for one in fitted},
        "cold_start": cold_start,
        **({"timing": timing} if timing else {}),
        "maturity": _maturity(fitted),
        "metrics": metrics,
        "training": dict(evidence),
        **origin,
        "created_at": created_at.isoformat(),
    }


def _maturity(fitted: Sequence[Fitted]) -> str:
    """``mature`` from 1,000 labels of the rarer kind in the poorest family on, ``young`` from 100, else ``prior``."""
    least = min(min(f.log["positives"], f.log["rows"] - f.log["positives"]) for f in fitted)
    return "mature" if least >= 1000 else "young" if least >= 100 else "prior"
