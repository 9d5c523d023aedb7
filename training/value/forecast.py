"""The value procedure at any origin: learn from what was known then, and forecast everybody who bought before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config, ModelConfig
from configs.errors import ConfigError
from features.catalog import NAMES
from serving.scoring.value.forecast import SpendForecast
from training.calibrate import Blend
from training.dataset import TrainingSet
from training.forecasts import Recipe
from training.forecasts_of_users import blanked
from training.stack import Family, Rows, stack
from training.value.baselines import forecast_baselines
from training.value.fit import FittedValue, fit_value
from training.value.spend import Spend

__all__ = ["Foreseen", "Learned", "as_frame", "foreseen", "learn_at", "value_at", "value_family"]

Floats = NDArray[np.float64]

# Half a year is known long before a year is: it is learned too, and no head answers it.
BETWEEN_DAYS = 180.0


@dataclass(frozen=True)
class Learned:
    """A fit as of an origin, and the cohort it looks ahead for at every horizon, as the fit may see it."""

    fitted: FittedValue
    today: Rows


@dataclass(frozen=True)
class Foreseen:
    """What one head said of each user of ``rows`` at an origin, what followed, and what the baselines said."""

    head: str
    horizon_days: float
    rows: Rows
    spend: SpendForecast
    truth: Floats
    others: dict[str, Floats]


def value_family(model: ModelConfig) -> Family:
    """What the booster of purchases learns: one cohort, the horizons of all heads, and half a year between them.

    Examples
    --------
    >>> from configs import load
    >>> value_family(load().models["value"]).horizons
    (30.0, 90.0, 180.0, 365.0)
    """
    cohorts = {definition["cohort"] for definition in model.heads.values()}
    horizons = {float(definition["horizon_days"]) for definition in model.heads.values()}
    if len(cohorts) != 1:
        raise ConfigError(f"models/{model.name}.yaml: heads", got=sorted(cohorts), expected="one cohort for all heads")
    cohort = cohorts.pop()
    between = {BETWEEN_DAYS} if min(horizons) < BETWEEN_DAYS < max(horizons) else set()
    return Family("repurchase", cohort, model.cohorts[cohort], tuple(model.heads), tuple(sorted(horizons | between)))


def learn_at(
    config: Config,
    model: ModelConfig,
    recipe: Recipe,
    data: TrainingSet,
    spend: Spend,
    origin: datetime,
    blend: Blend | None = None,
    seeds: Sequence[int] = (),
) -> Learned:
    """Fit to the rows of ``data`` before ``origin`` whose label windows were over then.

    ``blend`` is that of an earlier fit of the same procedure, where there is one; from ``seeds`` the booster of
    purchases is grown again.

    Raises
    ------
    TrainingError
        When too few purchases with an amount were known.
    """
    family = value_family(model)
    rows = stack(data.frame[data.frame["as_of"] < origin], family, NAMES, origin)
    today = blanked(stack(data.at([origin]), family, NAMES, None), recipe)
    fitted = fit_value(
        blanked(rows, recipe),
        spend.between(rows.user, rows.start, rows.end),
        today,
        family,
        NAMES,
        data.first_day,
        config.seed if recipe.seed is None else recipe.seed,
        config.threads,
        recipe.lightgbm,
        blend,
        seeds,
    )
    return Learned(fitted, today)


def foreseen(
    model: ModelConfig, learned: Learned, data: TrainingSet, spend: Spend, origin: datetime, known_until: datetime
) -> list[Foreseen]:
    """What each head said at ``origin``, for heads whose window is over at ``known_until``."""
    told = []
    for head, definition in model.heads.items():
        horizon = float(definition["horizon_days"])
        if origin + timedelta(days=horizon) > known_until:
            continue
        # The baselines see every feature, whatever the recipe hides from the model.
        rows = stack(data.at([origin]), value_family(model), NAMES, None, [horizon])
        shown = learned.today.where(learned.today.horizon == horizon)
        truth = spend.between(rows.user, rows.start, rows.end)
        others = forecast_baselines(rows, NAMES, spend, horizon)
        told.append(Foreseen(head, horizon, rows, learned.fitted.forecast(shown.x, horizon), truth, others))
    return told


def value_at(
    config: Config,
    model: ModelConfig,
    recipe: Recipe,
    data: TrainingSet,
    spend: Spend,
    origin: datetime,
    known_until: datetime,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What the procedure would have said at ``origin``, beside what followed: a row per head and user.

    Parameters
    ----------
    data
        Rows at ``origin`` and at the origins before it.

    Returns
    -------
    tuple
        ``user_id``, ``head``, ``y`` (spend), ``p`` (expected spend), ``raw`` (the same: it orders users) and the
        baselines, for heads whose window is over at ``known_until``; and the log of the fit.
    """
    learned = learn_at(config, model, recipe, data, spend, origin)
    return as_frame(foreseen(model, learned, data, spend, origin, known_until)), learned.fitted.log


def as_frame(told: Sequence[Foreseen]) -> pd.DataFrame:
    """The rows that `value_at` returns."""
    frames = [
        pd.DataFrame(
            {
                "user_id": one.rows.user.astype(str).astype(object),
                "head": one.head,
                "y": one.truth,
                "p": one.spend.expected,
                "raw": one.spend.expected,
                **{f"baseline.{name}": values for name, values in one.others.items()},
            }
        )
        for one in told
    ]
    columns = ["user_id", "head", "y", "p", "raw"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
