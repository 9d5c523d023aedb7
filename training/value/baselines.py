"""What a forecast of spend must beat: BG/NBD with Gamma-Gamma, and the last period again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.baselines import BgNbd, GammaGamma
from training.stack import Rows
from training.value.spend import Spend

__all__ = ["BASELINES", "forecast_baselines"]

Floats = NDArray[np.float64]

BASELINES = ("bg_nbd_gamma_gamma", "repeat_last_period")


def forecast_baselines(judged: Rows, features: Sequence[str], spend: Spend, horizon_days: float) -> dict[str, Floats]:
    """BG/NBD times Gamma-Gamma, fitted to the purchase days of ``judged`` themselves, and the spend of the last period.

    A day with purchases is one purchase. Gamma-Gamma sees the first day too: without it, whoever bought once would
    have no mean of his own.
    """
    column = {name: judged.x[:, k] for k, name in enumerate(features)}
    days, age = column["purchase_days_life"], column["days_since_first_purchase"]
    history = (days - 1, age - column["days_since_last_purchase"], age)
    mean = np.nan_to_num(column["spend_life"]) / days
    each = GammaGamma.fit(days, mean).mean_amount(days, mean)
    return {
        "bg_nbd_gamma_gamma": BgNbd.fit(*history).expected(*history, horizon_days) * each,
        "repeat_last_period": spend.between(judged.user, judged.as_of - horizon_days, judged.as_of),
    }
