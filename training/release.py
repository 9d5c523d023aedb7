"""Champions to one self-contained release: what serving needs, verified, atomically current."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import Config
from configs.errors import RegistryError
from features.catalog import digest
from features.periods import now
from serving.scoring import verified
from serving.scoring.release import sweep, write_release
from training.aliases import aliases_of
from training.gate.journal import released, settled
from training.registry import CHAMPION, Registry

__all__ = ["Release", "release"]


@dataclass(frozen=True)
class Release:
    """What was released: the id, and the version of each model in it."""

    release_id: str
    versions: dict[str, str]
    folder: Path


def release(config: Config, documents: Mapping[str, bytes] | None = None) -> Release:
    """Copy every champion into a new release and make it current; a crash at any point leaves the old one in force.

    ``documents`` travel with the models: ``policy.json`` and ``offers.json``, compiled and checked by whoever decides.
    ``release.json`` says of a policy its version and the digest of its bytes.
    """
    # A promotion that was killed half way is brought to its end first: customers get all of it or nothing.
    with settled(config):
        pointed = aliases_of(config, list(config.models))
        champions = {name: aliases[CHAMPION] for name, aliases in pointed.items() if CHAMPION in aliases}
        if not champions:
            raise RegistryError(
                "there is no champion to release",
                expected=sorted(config.models),
                run="userops train && userops promote",
            )
        registry, releases = Registry(config), config.home / "releases"
        sweep(releases)  # nobody else releases now
        with tempfile.TemporaryDirectory() as scratch:
            folders = {name: registry.folder(name, one, Path(scratch) / name) for name, one in champions.items()}
            extra = {"alias": CHAMPION, "released_by": config.user, **_policy(documents or {})}
            release_id = write_release(releases, folders, digest(), now(config), extra, documents)
        # Killed here, the rows are written by whoever promotes, rolls back or releases next.
        released(config, config.user, release_id, champions)
    return Release(release_id, champions, releases / release_id)


def _policy(documents: Mapping[str, bytes]) -> dict[str, Any]:
    """What a release says of its policy."""
    content = documents.get("policy.json")
    if content is None:
        return {}
    read = verified.read_json(content, Path("policy.json"))
    return {"policy": {"version": read.get("version"), "digest": verified.sha256(content)}}
