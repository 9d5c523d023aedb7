"""Write a release and make it the one in force: a reader sees the old one or the new one, whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.errors import BundleError
from serving.scoring import verified
from serving.scoring.bundle import FORMAT, Bundle, release_digest
from serving.scoring.folder import file_names

__all__ = ["make_current", "sweep", "write_release"]


def write_release(
    releases_folder: Path,
    models: Mapping[str, Path],
    catalogue_digest: str,
    created_at: datetime,
    extra: Mapping[str, Any] | None = None,
    documents: Mapping[str, bytes] | None = None,
) -> str:
    """Copy the model folders and documents into one release, verify it, make it current; return its id.

    The release is built beside its final place and renamed, and ``current`` is replaced, never rewritten: a crash at
    any point leaves the old release in force. The same content at the same instant is the same release.
    ``extra`` entries are kept in ``release.json`` (aliases, policy, git revision, ...); ``documents`` (``policy.json``,
    ``offers.json``) lie beside it.
    """
    if created_at.tzinfo is None:
        raise BundleError("created_at of a release must be aware", got=created_at.isoformat())
    if not models:
        raise BundleError("a release holds at least one model", got=0, run="userops train && userops promote")
    releases_folder.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=releases_folder))
    try:
        files, listed = _copy(building, models)
        for name, content in sorted((documents or {}).items()):
            if name == "release.json" or "/" in name or name in listed:
                raise BundleError("a document of a release cannot have this name", got=name, expected="policy.json")
            verified.write(building / name, content)
            files[name] = verified.sha256(content)
        meta = {
            **(extra or {}),
            "format": FORMAT,
            "created_at": created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "catalogue_digest": catalogue_digest,
            "models": listed,
            **({"documents": sorted(documents)} if documents else {}),
            "files": files,
        }
        meta = {"release_id": f"{created_at.astimezone(UTC):%Y-%m-%dT%H%M%SZ}-{release_digest(meta)}", **meta}
        release_id = str(meta["release_id"])
        text = json.dumps(meta, indent=1, ensure_ascii=False, allow_nan=False)
        verified.write(building / "release.json", text.encode("utf-8") + b"\n")
        Bundle.load(building, catalogue_digest)
        final = releases_folder / release_id
        if not final.exists():
            building.chmod(0o755)  # mkdtemp makes folders that only their owner may read
            building.rename(final)
        make_current(releases_folder, release_id)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return release_id


def make_current(releases_folder: Path, release_id: str) -> None:
    """Point ``current`` at a release that exists: also the way back to an earlier one."""
    if not (releases_folder / release_id / "release.json").is_file():
        raise BundleError(f"{releases_folder} holds no such release", got=release_id)
    # mkdtemp's name is ours alone, so two releases at the same time do not meet.
    private = Path(tempfile.mkdtemp(prefix=".current-", dir=releases_folder))
    try:
        (private / "link").symlink_to(release_id)
        (private / "link").replace(releases_folder / "current")
    finally:
        private.rmdir()
    descriptor = os.open(releases_folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(releases_folder: Path) -> None:
    """Remove what writers that died left behind; call it while nobody else writes a release there."""
    for path in (*releases_folder.glob(".building-*"), *releases_folder.glob(".current-*")):
        shutil.rmtree(path, ignore_errors=True)


def _copy(building: Path, models: Mapping[str, Path]) -> tuple[dict[str, str], dict[str, Any]]:
    """Copy every file of every model; the digest of each file, and what ``release.json`` says of each model."""
    files: dict[str, str] = {}
    listed: dict[str, Any] = {}
    for name, source in sorted(models.items()):
        meta = verified.read_json(verified.read(source, "model.json", None), source / "model.json")
        if meta.get("name") != name:
            raise BundleError(f"{source} holds another model", got=meta.get("name"), expected=name)
        (building / name).mkdir()
        for file in file_names(meta):
            content = verified.read(source, file, None)
            verified.write(building / name / file, content)
            files[f"{name}/{file}"] = verified.sha256(content)
        version = str(meta.get("version"))
        listed[name] = {"folder": name, "version": version, "model_json_sha256": files[f"{name}/model.json"]}
    return files, listed
