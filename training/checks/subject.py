"""One version under examination: what the checks look at, each part gathered when first asked for and then shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.catalog import NAMES
from features.events import span
from features.store import Store
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.model import Model
from training.dataset import TrainingSet, assemble
from training.forecasts import Forecasts, Recipe, forecasts, known_until
from training.judge import horizons_of
from training.monitor.watched import load_version
from training.registry import Registry, Version
from training.splits import origins_before, rolling
from training.stack import Family, Rows, families, stack

__all__ = ["Question", "Subject"]

Progress = Callable[[str, float], None]

# Origins to learn from, and between them and the judged one, whose rows are looked at: enough to see what is usual.
LEARNED = 4
LEAST_OF_A_KIND = 5


class Question:
    """What one head is asked, as rows: ``learn`` were known at the judged origin, ``judged`` stand at it."""

    def __init__(self, head: str, family: Family, horizon: float | None, learn: Rows, judged: Rows) -> None:
        self.head, self.family, self.horizon, self.learn, self.judged = head, family, horizon, learn, judged


class Subject:
    """A version and its surroundings.

    Every property is worked out once; whoever has a part already may set it.
    """

    def __init__(self, config: Config, model: ModelConfig, version: Version, progress: Progress | None = None) -> None:
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
        model = load_version(Registry(self.config), self.model.name, self.version.version)
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
        """Where the procedure is judged: the origins of the gate, oldest first."""
        first = span(self.config)[0]
        return rolling(self.model.origins, self.horizons, first, self.known_until, self.model.gate.origins)

    @property
    def horizons(self) -> list[float]:
        """How many days the label windows of the heads last that the version was judged on."""
        judged = self.version.tags.get("heads", "").split() if self.kind == "value" else []
        return horizons_of(
            replace(self.model, heads={head: self.model.heads[head] for head in judged or self.model.heads})
        )

    @property
    def judged_at(self) -> datetime:
        """The last origin at which every label is known."""
        return self.origins[-1]

    @cached_property
    def forecasts(self) -> Forecasts:
        """What the version's recipe would have said at `origins`, beside what followed."""
        # Versions of before recipes were kept have the one of the YAML file.
        recipe = Recipe.of_version(self.meta) if "recipe" in self.meta else None
        return forecasts(self.config, self.model, self.origins, self.show, recipe=recipe)

    @cached_property
    def data(self) -> TrainingSet:
        """Features and waiting times at the judged origin, at some before it, and at the newest one."""
        step = timedelta(days=self.model.origins.every_days)
        longest = timedelta(days=max(self.horizons))
        before = origins_before(self.model.origins, self.judged_at, span(self.config)[0])
        learned = [at for at in before if at + longest <= self.judged_at][-LEARNED:] or before[:1]
        between = [self.judged_at - k * 2 * step for k in (1, 2)]
        wanted = {*learned, *(at for at in between if at in before), self.judged_at, self.known_until}
        return assemble(self.config, sorted(wanted), self.show)

    @property
    def families(self) -> list[Family]:
        """What each booster learns; of spend, whether anything is bought."""
        if self.kind == "value":
            from training.value.forecast import value_family

            return [value_family(self.model)]
        return families(self.model)

    @cached_property
    def questions(self) -> dict[str, Question]:
        """By head, of a model of users: the rows of `data` that were known at the judged origin, and those at it.

        A head whose cohort or label says nothing at the judged origin is left out.
        """
        past, present = self.data.frame[self.data.frame["as_of"] < self.judged_at], self.data.at([self.judged_at])
        found = {}
        for family in self.families:
            for head in family.heads:
                horizon = self.model.heads[head].get("horizon_days")
                asked = None if horizon is None else [horizon]
                learn = stack(past, family, NAMES, self.judged_at, asked)
                judged = stack(present, family, NAMES, self.data.known_until, asked)
                if all(_both_kinds(rows) for rows in (learn, judged)):
                    found[head] = Question(head, family, horizon, learn, judged)
        if not found:
            raise TrainingError(
                f"{self.model.name}: no head has labels of both kinds at {self.judged_at:%Y-%m-%d}",
                expected=f"at least {LEAST_OF_A_KIND} of either kind",
                run="userops status",
            )
        return found


def _both_kinds(rows: Rows) -> bool:
    return min(float(np.sum(rows.y > 0)), float(np.sum(rows.y <= 0))) >= LEAST_OF_A_KIND
