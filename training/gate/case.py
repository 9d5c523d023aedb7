"""A version before the gate: its files, the champion's, and why it may not pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from configs import Config, ModelConfig
from configs.audit import Row, entries
from configs.errors import UseropsError
from serving.scoring.folder import read_folder
from training.registry import CHAMPION, Registry, Version

__all__ = ["Case", "Progress", "Reason"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Reason:
    """One thing that speaks against a version: ``what`` in ``en`` and ``zh``, the two values, what to run."""

    code: str
    what: dict[str, str]
    got: object
    expected: object
    run: str


@dataclass
class Case:
    """A version before the gate; what each look finds out is kept in ``evidence``."""

    config: Config
    model: ModelConfig
    registry: Registry
    candidate: Version
    scratch: Path
    show: Progress
    evidence: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def before(self) -> str | None:
        """The champion now."""
        return self.registry.aliased(self.model.name, CHAMPION)

    @cached_property
    def folder(self) -> Path:
        """The version's files."""
        return self.registry.folder(self.model.name, self.candidate.version, self.scratch / self.model.name)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The version's ``model.json``; empty where its files are not whole."""
        try:
            return read_folder(self.folder).meta
        except UseropsError:
            return {}

    @cached_property
    def heads(self) -> list[str]:
        """What the version answers, by its files: a label that could not be learned is not in it."""
        return list(self.meta.get("heads") or self.candidate.tags.get("heads", "").split() or self.model.heads)

    @cached_property
    def heads_before(self) -> dict[str, Any]:
        """What the champion answers, by its files; where they are gone, what the model is meant to answer."""
        assert self.before is not None
        try:
            folder = self.registry.folder(self.model.name, self.before, self.scratch / "champion")
            return dict(read_folder(folder).meta["heads"])
        except UseropsError:
            return {head: {} for head in self.model.heads}

    def rows(self) -> list[Row]:
        """What the audit table says of the version."""
        return entries(self.config.audit_uri, self.model.name, self.candidate.version)

    def reason(self, code: str, en: str, zh: str, got: object, expected: object, run: str) -> Reason:
        """One reason; ``run`` may name the model as ``{model}`` and the version as ``{version}``."""
        command = run.format(model=self.model.name, version=self.candidate.version)
        return Reason(code, {"en": en, "zh": zh}, got, expected, command)
