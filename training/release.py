"""Champions to one self-contained release: what serving needs, verified, atomically current."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import Config
from configs.audit import Entry, append
from configs.errors import RegistryError
from features.catalog import digest
from features.periods import now
from serving.scoring import verified
from serving.scoring.release import write_release
from training.gate.journal import settle
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
    settle(config)
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
    runs = {name: registry.version(name, version).run_id for name, version in champions.items()}
    evidence = {"release_id": release_id}
    said = [Entry(config.user, "released", name, champions[name], run, "", evidence) for name, run in runs.items()]
    append(config.audit_uri, *said)
    return Release(release_id, champions, releases / release_id)


def _policy(documents: Mapping[str, bytes]) -> dict[str, Any]:
    """What a release says of its policy."""
    content = documents.get("policy.json")
    if content is None:
        return {}
    read = verified.read_json(content, Path("policy.json"))
    return {"policy": {"version": read.get("version"), "digest": verified.sha256(content)}}
