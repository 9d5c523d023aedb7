"""Past forecasts of churn and repurchase: each family fitted to what was known at an origin, beside the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.catalog import NAMES
from features.events import span
from training.baselines import baselines
from training.dataset import TrainingSet, assemble
from training.forecasts import Recipe
from training.models import fit, raw_scores
from training.segments import home_stores, segments
from training.splits import origins_before
from training.stack import Family, Rows, families, stack

__all__ = ["PastOfUsers", "blanked"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class PastOfUsers:
    """The procedure of `training.train` at past origins; features of all of them are assembled once."""

    config: Config
    model: ModelConfig
    recipe: Recipe
    origins: Sequence[datetime]
    known_until: datetime
    show: Progress = field(repr=False)

    @cached_property
    def data(self) -> TrainingSet:
        """Rows at every origin that is asked, and at those it learns from."""
        needed = {at for origin in self.origins for at in (*self._before(origin), origin)}
        return assemble(self.config, sorted(needed), self.show)

    def at(self, origin: datetime) -> tuple[pd.DataFrame, dict[str, Any]]:
        """What would have been said at ``origin``, beside what followed until ``known_until``."""
        log: dict[str, Any] = {"learned_origins": len(self._before(origin)), "families": {}, "left_out": {}}
        stores = home_stores(self.config, origin)
        frames = []
        for family in families(self.model):
            try:
                found, said = self._family(family, origin, stores)
            except TrainingError as error:
                log["left_out"][family.name] = str(error).replace("\n ", ";")
                continue
            frames += found
            log["families"][family.name] = said
        columns = ["user_id", "head", "y", "p", "raw"]
        return (pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)), log

    def _before(self, origin: datetime) -> list[datetime]:
        return origins_before(self.model.origins, origin, span(self.config)[0])

    def _family(
        self, family: Family, origin: datetime, stores: dict[str, str]
    ) -> tuple[list[pd.DataFrame], dict[str, Any]]:
        past, present = self.data.at(self._before(origin)), self.data.at([origin])
        # A label counts only when its window was over at the origin: nobody could have known it otherwise.
        whole = stack(past, family, NAMES, origin)
        rows, ahead = blanked(whole, self.recipe), blanked(stack(present, family, NAMES, None), self.recipe)
        seed = self.config.seed if self.recipe.seed is None else self.recipe.seed
        fitted = fit(rows, ahead, family, NAMES, self.data.first_day, seed, self.config.threads, self.recipe.lightgbm)
        frames = []
        for head in family.heads:
            horizon = self.model.heads[head].get("horizon_days")
            known = stack(present, family, NAMES, self.known_until, None if horizon is None else [horizon])
            if not len(known):
                continue
            x = blanked(known, self.recipe).x
            said = {"p": fitted.probability(x, horizon), "raw": raw_scores(fitted.booster, x)}
            learned = whole.where(whole.horizon == (horizon or 0.0))
            others = baselines(family, horizon, learned, known, NAMES)
            frames.append(_frame(head, known, said, others, stores))
        learned_until = np.datetime64("1970-01-01") + np.timedelta64(round(float(rows.end.max()) * 86_400), "s")
        keys = ("rows", "positives", "users", "trees", "slope", "level_weight", "folds")
        log = {key: fitted.log[key] for key in keys} | {"last_label_end": f"{learned_until}Z"}
        return frames, log


def blanked(rows: Rows, recipe: Recipe) -> Rows:
    """``rows`` as somebody sees them who knows only the features of ``recipe``: the others are absent everywhere."""
    hidden = [place for place, name in enumerate(NAMES) if name not in recipe.features]
    if not hidden:
        return rows
    x = rows.x.copy()
    x[:, hidden] = np.nan
    return Rows(x, rows.y, rows.as_of, rows.start, rows.end, rows.horizon, rows.user)


def _frame(
    head: str, known: Rows, said: dict[str, Any], others: dict[str, Any], stores: dict[str, str]
) -> pd.DataFrame:
    users = known.user.astype(str)
    values = {name: known.x[:, place] for place, name in enumerate(NAMES)}
    home = np.array([stores.get(user) for user in users], dtype=object)
    return pd.DataFrame(
        {
            "user_id": users.astype(object),
            "head": head,
            "y": known.y,
            **said,
            **{f"baseline.{name}": p for name, p in others.items()},
            **{f"segment.{name}": part for name, part in segments(values, home).items()},
        }
    )
