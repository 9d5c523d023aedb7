"""What a version would have said at past origins, honestly: the very files where they had not seen what followed.

Where they had, its recipe is fitted again to what was known at the origin: ``files`` and ``refitted`` say which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config, ModelConfig
from features.catalog import NAMES, digest
from features.periods import as_utc
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from serving.scoring.pyfunc import load
from serving.scoring.value.model import ValueModel
from training.dataset import assemble
from training.forecasts import Forecasts, Recipe, forecasts
from training.registry import Version

__all__ = ["FILES", "REFITTED", "Side", "by_files", "foreseen", "refitted"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]

FILES, REFITTED = "files", "refitted"


@dataclass(frozen=True)
class Side:
    """One of the two: the version, its ``model.json``, its model, and how each origin was answered."""

    version: Version
    meta: dict[str, Any]
    folder: Path
    model: Model | InterestModel
    how: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, version: Version, folder: Path) -> Side:
        """The side whose files lie in ``folder``, verified."""
        model = load(folder)
        return cls(version, dict(model.meta), folder, model)

    def recipe(self, model: ModelConfig) -> Recipe:
        """How to fit the same again; of a version that does not say it, the model's YAML file is taken."""
        return Recipe.of_version(self.meta) if "recipe" in self.meta else Recipe(model.lightgbm)

    def had_not_seen(self, origin: datetime) -> bool:
        """Whether its files can be asked at ``origin``: every label they learned from was over by then."""
        until = self.meta.get("known_until")
        of_users = isinstance(self.model, Model) and self.model.catalogue_digest == digest()
        return of_users and until is not None and as_utc(until) <= origin


def foreseen(
    config: Config,
    model: ModelConfig,
    sides: tuple[Side, Side],
    origins: Sequence[datetime],
    progress: Progress | None = None,
) -> tuple[Forecasts, Forecasts]:
    """What both would have said at ``origins``, over the same users; ``how`` of each side is filled in."""
    show = progress or (lambda message, fraction: None)
    # What followed, and for whom, comes with the second's refits: files alone only know what they say.
    ground = refitted(config, model, sides[1], origins, lambda m, f: show(f"second: {m}", 0.5 * f))
    again = [origin for origin in origins if not sides[0].had_not_seen(origin)]
    parts = [ground.frame[~ground.frame["as_of"].isin(pd.DatetimeIndex(again))]]
    if again:
        recipe = sides[0].recipe(model)
        parts.append(
            forecasts(config, model, again, lambda m, f: show(f"first: {m}", 0.5 + 0.5 * f), recipe=recipe).frame
        )
    frames = [pd.concat(parts, ignore_index=True), ground.frame]
    said = []
    for side, frame in zip(sides, frames, strict=True):
        own = [origin for origin in origins if side.had_not_seen(origin)]
        side.how.update({origin.isoformat(): FILES if origin in own else REFITTED for origin in origins})
        said.append(Forecasts(by_files(config, side, frame, own), ground.kind, ground.log))
    return said[0], said[1]


def refitted(
    config: Config, model: ModelConfig, side: Side, origins: Sequence[datetime], progress: Progress | None = None
) -> Forecasts:
    """What the side's recipe, fitted to what was known at each of ``origins``, would have said then."""
    side.how.update({origin.isoformat(): REFITTED for origin in origins})
    return forecasts(config, model, origins, progress, recipe=side.recipe(model))


def by_files(config: Config, side: Side, frame: pd.DataFrame, origins: Sequence[datetime]) -> pd.DataFrame:
    """``frame`` with what the version's own files say in the rows of ``origins``."""
    if not origins or not isinstance(side.model, Model):
        return frame
    frame = frame.copy()
    rows = assemble(config, origins).frame.set_index(["user_id", "as_of"])[list(NAMES)]
    inside = frame["as_of"].isin(pd.DatetimeIndex(list(origins))) & frame["head"].isin(list(side.model.heads))
    for head, part in frame[inside].groupby("head"):
        keys = pd.MultiIndex.from_frame(part[["user_id", "as_of"]])
        x = rows.reindex(keys)[list(side.model.features)].to_numpy(np.float64)
        frame.loc[part.index, ["p", "raw"]] = np.column_stack(_said(side.model, x, str(head)))
    return frame


def _said(model: Model, x: Floats, head: str) -> tuple[Floats, Floats]:
    """What ``p`` and ``raw`` of `Forecasts` are, by the model itself."""
    if isinstance(model, ValueModel):
        expected = model.spend(x, [head])[head].expected
        return expected, expected
    raw = model.raw(x, head)
    return model.heads[head].calibrator(raw), raw
