"""The new version's procedure at past origins: how good it would have been, beside the best baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from configs import Config, ModelConfig
from training.evaluate import metrics_of
from training.forecasts import Forecasts, Recipe, forecasts, past_origins
from training.registry import Registry, Run

__all__ = ["backtest_version", "summary"]

Progress = Callable[[str, float], None]


def backtest_version(
    config: Config, model: ModelConfig, version: str, run: Run, progress: Progress | None = None
) -> Mapping[str, Any]:
    """Forecast at the gate's origins with the version's recipe and leave the numbers in ``run``.

    Forecasts are kept on disk by origin, so that the comparison at the gate finds them, and a killed back-test goes on.
    """
    registry = Registry(config)
    meta = registry.read_json(registry.version(model.name, version).run_id, "model/model.json")
    recipe = Recipe.of_version(meta) if "recipe" in meta else None
    found = forecasts(config, model, past_origins(config, model, model.gate.origins), progress, recipe=recipe)
    heads = summary(found)
    run.json({"heads": heads, "log": found.log}, "backtest.json")
    run.metrics({f"{head}.{name}": value for head, numbers in heads.items() for name, value in numbers.items()})
    origins = sorted({f"{at:%Y-%m-%d}" for at in pd.DatetimeIndex(found.frame["as_of"].unique())})
    return {"origins": origins, "heads": heads}


def summary(found: Forecasts) -> dict[str, dict[str, float]]:
    """Per head, pooled over origins: log-loss and AUROC (of spend: mean absolute error), and the best baseline's."""
    told = {}
    for head, rows in found.frame.groupby("head"):
        y, p = rows["y"].to_numpy(float), rows["p"].to_numpy(float)
        numbers = {"rows": float(len(rows))}
        beside = {name: rows[f"baseline.{name}"].to_numpy(float) for name in found.baselines}
        known = {name: one for name, one in beside.items() if not np.isnan(one).any()}
        if found.kind == "spend":
            numbers["mae"] = float(np.abs(p - y).mean())
            numbers |= {f"mae.{name}": float(np.abs(one - y).mean()) for name, one in known.items()}
        else:
            whole = metrics_of(y, p, rows["raw"].to_numpy(float))
            numbers |= {"log_loss": whole["log_loss"], "auroc": whole["auroc"]}
            numbers |= {f"log_loss.{name}": metrics_of(y, one)["log_loss"] for name, one in known.items()}
        told[str(head)] = numbers
    return told
