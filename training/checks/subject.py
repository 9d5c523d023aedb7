"""One version under examination: what the checks look at, each part gathered when first asked for and then shared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.behaviour.user import user_features
from features.catalog import NAMES
from features.engine import connect
from features.events import read_events, span
from features.periods import DAY, as_utc, midnight, now, upto
from features.store import Store
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.model import Model
from training.dataset import TrainingSet, assemble
from training.forecasts import Forecasts, Recipe, forecasts, kept, known_until, past_origins
from training.judge import horizons_of
from training.monitor.reference import chosen
from training.registry import Registry, Version
from training.search.touched import seen
from training.splits import origins_before
from training.stack import Family, Rows, families, stack

__all__ = ["Subject"]

Progress = Callable[[str, float], None]

# Origins before the judged one that a quick look learns from.
LEARNED = 4
LEAST_OF_A_KIND = 5


class Subject:
    """A version and its surroundings.

    Every property is worked out once; whoever has a part already may set it. Unless ``thorough``, only forecasts that
    were made before are looked at: a first version is not kept waiting for more.
    """

    def __init__(
        self,
        config: Config,
        model: ModelConfig,
        version: Version,
        progress: Progress | None = None,
        thorough: bool = True,
    ) -> None:
        self.thorough = thorough
        self.config, self.model, self.version = config, model, version
        self.show: Progress = progress or (lambda message, fraction: None)
        self.files: dict[str, str] = {}  # what checks leave with the version's run beside their outcomes, by name
        self.kind = {INTEREST: "interest", "value": "value"}.get(model.name, "users")

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The version's ``model.json``."""
        return Registry(self.config).read_json(self.version.run_id, "model/model.json")

    @cached_property
    def scorer(self) -> Model:
        """The version as serving loads it; of a model that scores users."""
        model = Registry(self.config).model(self.model.name, self.version.version)
        assert isinstance(model, Model)
        return model

    @cached_property
    def store(self) -> Store:
        """The features of this home."""
        return Store(self.config)

    @cached_property
    def known_until(self) -> datetime:
        """The last midnight until which all events are known."""
        return known_until(self.config)

    @cached_property
    def origins(self) -> tuple[datetime, ...]:
        """Where the procedure is judged, oldest first: the origins of the gate, or those of them that were before."""
        every = past_origins(self.config, self.model, self.model.gate.origins)
        return every if self.thorough else kept(self.config, self.model, self.recipe, every) or every[-1:]

    @property
    def seen(self) -> list[datetime]:
        """Those of `origins` whose labels the search of the version's parameters may have known."""
        return seen(self.meta, self.origins)

    @property
    def judged_at(self) -> datetime:
        """The last origin that is judged."""
        return self.origins[-1]

    @cached_property
    def recipe(self) -> Recipe:
        """What makes the version's procedure; versions of before recipes were kept have that of the YAML file."""
        return Recipe.of_version(self.meta) if "recipe" in self.meta else Recipe(self.model.lightgbm)

    @cached_property
    def forecasts(self) -> Forecasts:
        """What the version's recipe would have said at `origins`, beside what followed."""
        return forecasts(self.config, self.model, self.origins, self.show, recipe=self.recipe)

    @cached_property
    def present(self) -> TrainingSet:
        """Features and waiting times of everybody at the judged origin."""
        return assemble(self.config, [self.judged_at], self.show)

    @cached_property
    def past(self) -> TrainingSet:
        """The same at some origins before it, the last whose every label was known at it."""
        longest = timedelta(days=max(horizons_of(self.model)))
        before = origins_before(self.model.origins, self.judged_at, span(self.config)[0])
        learned = [at for at in before if at + longest <= self.judged_at][-LEARNED:] or before[:LEARNED]
        return assemble(self.config, learned, self.show)

    @cached_property
    def without_future(self) -> pd.DataFrame:
        """The features of everybody at the judged origin, from the events up to it alone; indexed by user."""
        connection = connect(self.config)
        events = upto(read_events(connection, self.config, None, self.judged_at), self.judged_at)
        again: pd.DataFrame = connection.to_pyarrow(user_features(events, [self.judged_at])).to_pandas()
        return again.set_index("user_id")

    @property
    def trained_at(self) -> datetime:
        """The origin that the version itself was judged at, when it was trained."""
        told = self.meta.get("training", {}).get("split", {}).get("judged_at")
        return self.judged_at if told is None else as_utc(told)

    @property
    def today(self) -> datetime:
        """The last midnight whose features can be told."""
        return midnight(min(span(self.config)[1] + DAY, now(self.config)))

    @cached_property
    def since(self) -> pd.DataFrame:
        """The features of everybody at `trained_at`, at instants before it, and today."""
        earlier = chosen(origins_before(self.model.origins, self.trained_at, span(self.config)[0]), self.trained_at)
        return assemble(self.config, [*earlier, self.trained_at, self.today], self.show).frame

    @property
    def families(self) -> list[Family]:
        """What each booster learns; of spend, whether anything is bought."""
        if self.kind == "value":
            from training.value.forecast import value_family

            return [value_family(self.model)]
        return families(self.model)

    @cached_property
    def judged(self) -> dict[str, Rows]:
        """By head of a model of users, the rows at the judged origin; a head without labels of both kinds is left out.

        Raises
        ------
        TrainingError
            When no head is left.
        """
        found = {head: rows for head, rows in self._stacked(self.present, self.known_until).items() if both_kinds(rows)}
        if not found:
            raise TrainingError(
                f"{self.model.name}: no head has labels of both kinds at {self.judged_at:%Y-%m-%d}",
                expected=f"at least {LEAST_OF_A_KIND} of either kind",
                run="userops status",
            )
        return found

    @cached_property
    def learned(self) -> dict[str, Rows]:
        """By head of `judged`, rows whose labels were known at the judged origin, if there are labels of both kinds."""
        found = self._stacked(self.past, self.judged_at)
        return {head: found[head] for head in self.judged if both_kinds(found[head])}

    def _stacked(self, data: TrainingSet, known: datetime) -> dict[str, Rows]:
        found = {}
        for family in self.families:
            for head in family.heads:
                horizon = self.model.heads[head].get("horizon_days")
                found[head] = stack(data.frame, family, NAMES, known, None if horizon is None else [horizon])
        return found


def both_kinds(rows: Rows) -> bool:
    """Whether there are enough rows with the label, and without."""
    return min(float(np.sum(rows.y > 0)), float(np.sum(rows.y <= 0))) >= LEAST_OF_A_KIND
