"""Past forecasts of spend: the value procedure fitted to what was known at an origin, beside its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import pandas as pd

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.events import span
from training.dataset import TrainingSet
from training.forecasts import Recipe, keep
from training.forecasts_of_users import NOTHING, SAID, PastOfUsers, segmented
from training.segments import home_stores
from training.splits import origins_before
from training.value.forecast import value_at, value_family
from training.value.spend import Spend

__all__ = ["PastOfSpend", "keep_spend"]


class PastOfSpend(PastOfUsers):
    """The procedure of the value model at past origins."""

    @cached_property
    def spend(self) -> Spend:
        """Every purchase; what an origin may know of them is cut where it is asked."""
        return Spend.read(self.config)

    def at(self, origin: datetime) -> tuple[pd.DataFrame, dict[str, Any]]:
        """What would have been said at ``origin``, beside what followed until ``known_until``."""
        known = replace(self.data, frame=self.data.at([*self.before(origin), origin]))
        try:
            frame, said = value_at(self.config, self.model, self.recipe, known, self.spend, origin, self.known_until)
        except TrainingError as error:
            out = {self.model.name: error.words}
            return pd.DataFrame(columns=NOTHING), {"families": {}, "left_out": out}
        return _told(self.config, self.model, known, origin, frame, said)


def keep_spend(
    config: Config,
    model: ModelConfig,
    recipe: Recipe,
    data: TrainingSet,
    origin: datetime,
    frame: pd.DataFrame,
    said: Mapping[str, Any],
) -> pd.DataFrame:
    """Remember, and return, what training said at its judged ``origin``; `value_at` gives ``frame`` and ``said``."""
    rows, log = _told(config, model, data, origin, frame, said)
    keep(config, model, recipe, origin, rows, log)
    return rows


def _told(
    config: Config,
    model: ModelConfig,
    data: TrainingSet,
    origin: datetime,
    frame: pd.DataFrame,
    said: Mapping[str, Any],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows with their segments, and the log of the origin."""
    before = origins_before(model.origins, origin, span(config)[0])
    ends = [at + timedelta(days=days) for at in before for days in value_family(model).horizons]
    purchase = {
        **{key: said["chance"][key] for key in SAID},
        "tree_weight": said["tree_weight"],
        "last_label_end": max(end for end in ends if end <= origin).isoformat(),
    }
    features, stores = data.at([origin]).set_index("user_id"), home_stores(config, origin)
    heads = [rows.reset_index(drop=True) for _, rows in frame.groupby("head", sort=False)]
    parts = [segmented(rows, features.loc[rows["user_id"]], stores) for rows in heads]
    log = {"learned_origins": len(before), "families": {"purchase": purchase}, "left_out": {}}
    return (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=NOTHING)), log
