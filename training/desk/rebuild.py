"""The desk of a version whose files are not there: taken from its run, else worked out again from what is."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from configs import Config, model_of
from configs.errors import UseropsError
from features.events import content_hash
from features.periods import as_utc
from serving.scoring.value.model import ValueModel
from training.checks.run import FILE as CHECKS
from training.desk.desk import CARD, Told, weights_of, write_card, write_reasons
from training.desk.desk import before as earlier
from training.desk.files import FOLDER, HASHED, desk_folder, log_desk, write
from training.desk.sample import Sample, sample_of
from training.desk.segments import segments_of
from training.explain import Scorer
from training.forecasts import Recipe, forecasts
from training.monitor.reference import FILE as REFERENCE
from training.registry import Registry, Version

__all__ = ["rebuild"]

Progress = Callable[[str, float], None]

EVALUATION, WEIGHTS = "evaluation.json", "weights.csv"


def rebuild(config: Config, model: str, version: str, progress: Progress | None = None) -> list[Path]:
    """Bring back what is missing or no JSON of the desk of ``version`` (a number or an alias); return all files of it.

    What its run holds under ``desk/`` is taken from there: users are named by digits then. The rest is worked out again
    from the version's files and the data of this home, and stored with the run. The card comes last: until it is there,
    the console shows no such version.

    Raises
    ------
    RegistryError
        When there is no such version, or it has no files.
    """
    show = progress or (lambda message, fraction: None)
    registry = Registry(config)
    found = registry.version(model, version)
    show("asking the run", 0.05)
    folder = desk_folder(config.home, model, found.version)
    _drop_broken(folder)
    card = _from_run(config, registry, found)
    before = _files(folder)
    source = Source(config, registry, found, lambda message: show(message, 0.3))
    lacking = [head for head in source.scorer.heads if not _learned(folder, source.scorer, head) <= set(before)]
    versus = not any(folder.glob("versus-*.json")) and earlier(registry, source.scorer) is not None
    if lacking or versus:
        show("what it learned", 0.6)
        others = not source.same_events
        write_reasons(config, registry, source.scorer, source.sample, heads=lacking, versus=versus, other_events=others)
    if folder / CHECKS not in before and "checks" in found.tags:
        # Of the run's own file: a later check writes there, and not to what lies below its desk.
        write(config.home, model, found.version, CHECKS, registry.read_json(found.run_id, CHECKS))
    if folder / CARD not in before:
        if card is None:
            write_card(config, source.scorer, source.told)
        else:
            write(config.home, model, found.version, CARD, card)
    if _files(folder) != before:
        log_desk(config.home, registry.reopen(found.run_id), model, found.version)
    show("written", 1.0)
    return _files(folder)


class Source:
    """A version and what its training told of it, each part brought back when first asked for."""

    def __init__(self, config: Config, registry: Registry, version: Version, show: Callable[[str], None]) -> None:
        self._config, self._registry, self._version, self._show = config, registry, version, show

    @cached_property
    def scorer(self) -> Scorer:
        """The version's model."""
        return self._registry.model(self._version.model, self._version.version)

    @cached_property
    def sample(self) -> Sample:
        """Whom its training asked."""
        self._show("features")
        return sample_of(self._config, self.scorer)

    @cached_property
    def told(self) -> Told:
        """What stands beside its files in its run; of a version before segments were measured, they are measured."""
        run_id = self._version.run_id
        evaluation = self._registry.read_json(run_id, EVALUATION)
        if "segments" not in evaluation and (segments := self._segments()) is not None:
            evaluation["segments"] = segments
        with tempfile.TemporaryDirectory() as scratch:
            kept = self._registry.copied(run_id, REFERENCE, Path(scratch))
            reference = {} if kept is None else json.loads(kept.read_text(encoding="utf-8"))
            listed = self._registry.copied(run_id, WEIGHTS, Path(scratch))
            known = None if listed is None else pd.read_csv(listed, float_precision="round_trip")
        return Told(evaluation, reference, weights_of(self.scorer, self.sample) if known is None else known)

    @property
    def same_events(self) -> bool:
        """Whether the home holds the events that its training saw."""
        known = self.scorer.meta.get("training", {}).get("data", {}).get("data_hash")
        return bool(known == content_hash(self._config))

    def _segments(self) -> dict[str, Any] | None:
        """None where the data are others now, or the procedure cannot be asked any more."""
        meta, model = self.scorer.meta, model_of(self._config, self._version.model)
        told = meta.get("training", {})
        if not self.same_events or "recipe" not in meta:
            return None
        recipe = Recipe.of_version(meta)
        self._show("segments")
        try:
            at = as_utc(told["split"]["judged_at"])
            said = forecasts(self._config, replace(model, lightgbm=dict(recipe.lightgbm)), [at], recipe=recipe)
        except UseropsError:
            return None
        return segments_of(said.frame, said.kind, self._config.seed)


def _drop_broken(folder: Path) -> None:
    for path in _files(folder):
        try:
            whole = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
        except ValueError:
            whole = False
        if not whole:
            path.unlink()


def _from_run(config: Config, registry: Registry, version: Version) -> dict[str, Any] | None:
    """Bring back what is missing here and stored there, and return the card, which is for the end.

    A file that is here stays: it may name users.
    """
    card: dict[str, Any] | None = None
    with tempfile.TemporaryDirectory() as scratch:
        stored = registry.copied(version.run_id, FOLDER, Path(scratch))
        for path in sorted(stored.rglob("*.json")) if stored else ():
            name = path.relative_to(stored or path).as_posix()
            if name == CHECKS or (desk_folder(config.home, version.model, version.version) / name).exists():
                continue
            content = json.loads(path.read_text(encoding="utf-8"))
            if name == CARD:
                card = content
                continue
            if name.startswith("versus-"):
                content[HASHED] = True  # of those stored before files said it themselves, too
            write(config.home, version.model, version.version, name, content)
    return card


def _learned(folder: Path, scorer: Scorer, head: str) -> set[Path]:
    """The files of a head: a model of spend has a second one for the amount."""
    names = [head, f"{head}.amount"] if isinstance(scorer, ValueModel) else [head]
    return {folder / "learned" / f"{name}.json" for name in names}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("[!.]*.json"))
