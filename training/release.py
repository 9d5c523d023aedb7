"""Champions to one self-contained release: what serving needs, verified, atomically current."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import Config, model_of
from configs.errors import RegistryError
from features.catalog import digest
from features.periods import now
from serving.scoring import verified
from serving.scoring.release import write_release
from training.registry import CHAMPION, PREVIOUS, Registry

__all__ = ["Release", "promote", "release", "trained"]


@dataclass(frozen=True)
class Release:
    """What was released: the id, and the version of each model in it."""

    release_id: str
    versions: dict[str, str]
    folder: Path


def trained(config: Config) -> list[str]:
    """The models that have a version; all of them when none has, so that whoever asks is told what to run."""
    registry = Registry(config)
    return [name for name in config.models if registry.versions(name)] or list(config.models)


def promote(config: Config, model: str, version: str) -> tuple[str, str | None]:
    """Let ``version`` (a number or an alias) be the champion of ``model``; return it and the champion before.

    A version whose run lacks a required metric is refused, so that a broken training cannot reach customers.
    """
    model_of(config, model)
    registry = Registry(config)
    candidate = registry.version(model, version)
    heads = candidate.tags.get("heads", "").split() or list(config.models[model].heads)
    required = [f"{head}.{metric}" for head in heads for metric in ("log_loss", "auroc")]
    missing = [name for name in required if name not in candidate.metrics]
    if missing:
        raise RegistryError(
            f"{model} version {candidate.version} lacks required metrics",
            got=sorted(candidate.metrics)[:8],
            expected=missing,
            because="a label had too few mature rows to be judged, or training was interrupted",
            run=f"userops train {model}",
        )
    before = registry.aliased(model, CHAMPION)
    if before is not None and before != candidate.version:
        registry.alias(model, PREVIOUS, before)
    registry.alias(model, CHAMPION, candidate.version)
    return candidate.version, before


def release(config: Config, documents: Mapping[str, bytes] | None = None) -> Release:
    """Copy every champion into a new release and make it current; a crash at any point leaves the old one in force.

    ``documents`` travel with the models: ``policy.json`` and ``offers.json``, compiled and checked by whoever decides.
    ``release.json`` says of a policy its version and the digest of its bytes.
    """
    registry = Registry(config)
    versions = {name: registry.aliased(name, CHAMPION) for name in config.models}
    champions = {name: version for name, version in versions.items() if version is not None}
    if not champions:
        raise RegistryError(
            "there is no champion to release", expected=sorted(config.models), run="userops train && userops promote"
        )
    releases = config.home / "releases"
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: registry.folder(name, version, Path(scratch) / name) for name, version in champions.items()}
        extra = {"alias": CHAMPION, **_policy(documents or {})}
        release_id = write_release(releases, folders, digest(), now(config), extra, documents)
    return Release(release_id, champions, releases / release_id)


def _policy(documents: Mapping[str, bytes]) -> dict[str, Any]:
    """What a release says of its policy."""
    content = documents.get("policy.json")
    if content is None:
        return {}
    read = verified.read_json(content, Path("policy.json"))
    return {"policy": {"version": read.get("version"), "digest": verified.sha256(content)}}
