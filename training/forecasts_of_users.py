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
from training.forecasts import Recipe, keep
from training.judge import Judged, Said
from training.models import Fitted, fit, raw_scores
from training.segments import home_stores, segments
from training.splits import origins_before
from training.stack import Family, Rows, families, stack

__all__ = ["NOTHING", "SAID", "PastOfUsers", "blanked", "keep_judged", "segmented"]

Progress = Callable[[str, float], None]

# Of a fit's log, what the log of an origin keeps.
SAID = ("rows", "positives", "users", "trees", "slope", "level_weight", "folds")
NOTHING = ["user_id", "head", "y", "p", "raw"]


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
        needed = {at for origin in self.origins for at in (*self.before(origin), origin)}
        return assemble(self.config, sorted(needed), self.show)

    def at(self, origin: datetime) -> tuple[pd.DataFrame, dict[str, Any]]:
        """What would have been said at ``origin``, beside what followed until ``known_until``."""
        log: dict[str, Any] = {"learned_origins": len(self.before(origin)), "families": {}, "left_out": {}}
        stores = home_stores(self.config, origin)
        frames = []
        for family in families(self.model):
            try:
                found, said = self._family(family, origin, stores)
            except TrainingError as error:
                log["left_out"][family.name] = error.words
                continue
            frames += found
            log["families"][family.name] = said
        return (pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=NOTHING)), log

    def before(self, origin: datetime) -> list[datetime]:
        """The origins it learns from at ``origin``."""
        return origins_before(self.model.origins, origin, span(self.config)[0])

    def _family(
        self, family: Family, origin: datetime, stores: dict[str, str]
    ) -> tuple[list[pd.DataFrame], dict[str, Any]]:
        past, present = self.data.at(self.before(origin)), self.data.at([origin])
        # A label counts only when its window was over at the origin: nobody could have known it otherwise.
        whole = stack(past, family, NAMES, origin)
        rows, ahead = blanked(whole, self.recipe), blanked(stack(present, family, NAMES, None), self.recipe)
        seed = self.config.seed if self.recipe.seed is None else self.recipe.seed
        fitted = fit(rows, ahead, family, NAMES, self.data.first_day, seed, self.config.threads, self.recipe.lightgbm)
        return self._told(fitted, whole, present, stores)

    def _told(
        self, fitted: Fitted, whole: Rows, present: pd.DataFrame, stores: dict[str, str]
    ) -> tuple[list[pd.DataFrame], dict[str, Any]]:
        """What a fit says of those who are there, beside what followed, and what ``whole`` taught the baselines."""
        frames, family = [], fitted.family
        for head in family.heads:
            horizon = self.model.heads[head].get("horizon_days")
            known = stack(present, family, NAMES, self.known_until, None if horizon is None else [horizon])
            if not len(known):
                continue
            x = blanked(known, self.recipe).x
            learned = whole.where(whole.horizon == (horizon or 0.0))
            # Ours learns a long horizon from the short ones too; the baselines have nothing to learn from.
            taught = len(learned) and 0 < learned.y.mean() < 1
            others = baselines(family, horizon, learned, known, NAMES) if taught else {}
            said = Said(known, fitted.probability(x, horizon), raw_scores(fitted.booster, x), others)
            frames.append(_frame(head, said, stores))
        return frames, _log(fitted, float(whole.end.max()))


def keep_judged(config: Config, model: ModelConfig, origin: datetime, judged: Judged, learned: int) -> pd.DataFrame:
    """Remember what training said at its judged ``origin``, so that the next back-test, check or gate reads it.

    Nothing is kept unless every family was fitted: a forecast has all heads. What was said is returned all the same.
    ``learned`` is the number of origins that were learned from.
    """
    stores = home_stores(config, origin)
    frame = pd.concat([_frame(head, said, stores) for head, said in judged.said.items()], ignore_index=True)
    if judged.fits.keys() == {family.name for family in families(model)}:
        told = {name: _log(fitted, judged.learned_until[name]) for name, fitted in judged.fits.items()}
        log = {"learned_origins": learned, "left_out": {}, "families": told}
        keep(config, model, Recipe(model.lightgbm), origin, frame, log)
    return frame


def _frame(head: str, said: Said, stores: dict[str, str]) -> pd.DataFrame:
    known = said.rows
    columns = {
        "p": said.probability,
        "raw": said.raw,
        **{f"baseline.{name}": p for name, p in said.baselines.items()},
    }
    frame = pd.DataFrame({"user_id": known.user, "head": head, "y": known.y, **columns})
    return segmented(frame, pd.DataFrame(known.x[:, : len(NAMES)], columns=list(NAMES)), stores)


def _log(fitted: Fitted, learned_until: float) -> dict[str, Any]:
    last = np.datetime64("1970-01-01") + np.timedelta64(round(learned_until * 86_400), "s")
    return {key: fitted.log[key] for key in SAID} | {"last_label_end": f"{last}Z"}


def blanked(rows: Rows, recipe: Recipe) -> Rows:
    """``rows`` as somebody sees them who knows only the features of ``recipe``: the others are absent everywhere."""
    hidden = [place for place, name in enumerate(NAMES) if name not in recipe.features]
    if not hidden:
        return rows
    x = rows.x.copy()
    x[:, hidden] = np.nan
    return Rows(x, rows.y, rows.as_of, rows.start, rows.end, rows.horizon, rows.user)


def segmented(frame: pd.DataFrame, features: pd.DataFrame, stores: dict[str, str]) -> pd.DataFrame:
    """``frame`` with the segments of its rows, whose ``features`` stand in the same order."""
    home = np.array([stores.get(user) for user in frame["user_id"]], dtype=object)
    values = {name: features[name].to_numpy(float) for name in NAMES}
    return frame.assign(**{f"segment.{name}": part for name, part in segments(values, home).items()})
