"""One version under examination: what the checks look at, each part gathered when first asked for and then shared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from configs import Config, ModelConfig
from features.events import span
from features.periods import now
from features.store import Store
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.model import Model
from training.registry import Registry, Version

__all__ = ["Subject"]

Progress = Callable[[str, float], None]


class Subject:
    """A version and its surroundings.

    Every property is worked out once; whoever has a part already may set it.
    """

    def __init__(self, config: Config, model: ModelConfig, version: Version, progress: Progress | None = None) -> None:
        self.config, self.model, self.version = config, model, version
        self.show: Progress = progress or (lambda message, fraction: None)
        self.kind = {INTEREST: "interest", "value": "value"}.get(model.name, "users")

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The version's ``model.json``."""
        return Registry(self.config).read_json(self.version.run_id, "model/model.json")

    @cached_property
    def scorer(self) -> Model:
        """The version as serving loads it; of a model that scores users."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Registry(self.config).folder(self.model.name, self.version.version, Path(scratch) / "model")
            return Model.load(folder)

    @cached_property
    def store(self) -> Store:
        """The features of this home."""
        return Store(self.config)

    @cached_property
    def first_event(self) -> datetime:
        """The first event there is."""
        return span(self.config)[0]

    @cached_property
    def known_until(self) -> datetime:
        """The last instant whose events are all known."""
        return min(span(self.config)[1], now(self.config))
