"""A registered version beside the data of today: its reference, its population now, its calibration since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import pandas as pd

from configs import Config, ModelConfig
from configs.errors import UseropsError
from features.events import span
from features.periods import as_utc, midnight, now
from serving.scoring.interest.model import InterestModel
from training.dataset import assemble
from training.interest.histories import Histories, read_histories
from training.monitor.calibration import HeadCalibration, judge_calibration, matured
from training.monitor.interest import category_calibration, interest_population, interest_reference
from training.monitor.reference import FILE, Population, Reference, population, reference_of
from training.registry import Registry, Version

__all__ = ["Watched"]

Progress = Callable[[str, float], None]


class Watched:
    """One version in the registry; every property is worked out once."""

    def __init__(self, config: Config, model: ModelConfig, version: Version, progress: Progress | None = None) -> None:
        self.config, self.model, self.version = config, model, version
        self.show: Progress = progress or (lambda message, fraction: None)
        self.registry = Registry(config)
        self.scorer = self.registry.model(model.name, version.version)

    @cached_property
    def known_until(self) -> datetime:
        """The last instant whose events are all known."""
        return min(span(self.config)[1], now(self.config))

    @cached_property
    def today(self) -> datetime:
        """The last midnight whose features can be told."""
        return midnight(min(span(self.config)[1] + timedelta(days=1), now(self.config)))

    @cached_property
    def trained_until(self) -> datetime:
        """The last instant of which the version has seen anything."""
        meta = self.scorer.meta
        split = meta.get("training", {}).get("split", {})
        told = meta.get("known_until") or split.get("labels_known_until") or meta["created_at"]
        return midnight(as_utc(told))

    @cached_property
    def histories(self) -> Histories:
        """Everybody's lines; for the interest model."""
        return read_histories(self.config, self.known_until)

    def frame(self, instants: Sequence[datetime]) -> pd.DataFrame:
        """Features and waiting times of everybody known at each instant."""
        return assemble(self.config, instants, lambda message, fraction: self.show(message, 0.5)).frame

    @cached_property
    def reference(self) -> Reference:
        """What was kept at training; worked out again, and kept, for a version from before that."""
        try:
            return Reference.read(self.registry.read_json(self.version.run_id, FILE))
        except Exception as error:  # MLflow's stores tell an absent artefact in ways of their own
            if isinstance(error, UseropsError | KeyboardInterrupt):
                raise
        content = self._reference()
        self.registry.reopen(self.version.run_id).json(content, FILE)
        return Reference.read(content)

    def _reference(self) -> dict[str, Any]:
        every, at = self.model.origins.every_days, self.trained_until
        if isinstance(self.scorer, InterestModel):
            return interest_reference(self.scorer, self.histories, at, every)
        warm = span(self.config)[0] + timedelta(days=self.model.origins.warm_up_days)
        earlier = [at - timedelta(days=every * k) for k in range(1, self.model.origins.most + 1)]
        return reference_of(self.scorer, self.frame([at, *(one for one in earlier if one >= warm)]), at)

    def present(self) -> Population:
        """The population of today."""
        if isinstance(self.scorer, InterestModel):
            return interest_population(self.scorer, self.histories, self.today)
        return population(self.scorer, self.frame([self.today]), self.today)

    def calibration(self) -> list[HeadCalibration]:
        """Every head that later labels can judge."""
        if not isinstance(self.scorer, InterestModel):
            return judge_calibration(
                self.model, self.scorer, self.frame, self.trained_until, self.known_until, self.config.seed
            )
        horizon, every = self.scorer.horizon_days, self.model.origins.every_days
        origins = matured(self.trained_until, self.known_until, horizon, every)
        if not origins:
            ripe = (self.trained_until + timedelta(days=horizon)).isoformat()
            return [HeadCalibration("category", "not_yet", 0, 0, (), matures_at=ripe)]
        return [category_calibration(self.scorer, self.histories, origins, self.config.seed)]
