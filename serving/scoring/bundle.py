"""A release: the models that serving loads as one, each file under its SHA-256.

::

    releases/
      2026-11-21T101112Z-1f0c2e9ab310/
        release.json           {"format", "release_id", "created_at", "catalogue_digest", "models", "files", ...}
        churn/model.json ...   what training wrote
        policy.json ...        documents that travel with the models, listed under "documents"
      current -> 2026-11-21T101112Z-1f0c2e9ab310

The end of ``release_id`` is the digest of everything else that ``release.json`` says, so that no byte of a release
can change unseen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.errors import BundleError
from serving.scoring import verified
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from serving.scoring.value.model import NAME as VALUE
from serving.scoring.value.model import ValueModel

__all__ = ["FORMAT", "Bundle", "current", "release_digest"]

FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """The models of one release, verified.

    ``models`` holds those that score users (``value`` among them is a `ValueModel`), ``interest`` the one that scores
    items and categories for a user; ``documents`` are the bytes of every other file, by its name: what the release was
    decided with.
    """

    release_id: str
    created_at: str
    catalogue_digest: str
    models: dict[str, Model]
    digest: str
    meta: dict[str, Any]
    interest: InterestModel | None = None
    documents: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, catalogue_digest: str | None = None) -> Bundle:
        """The release in ``folder``; refused unless every file is the one released.

        ``catalogue_digest`` is the one of the feature catalogue in this process: a release of another catalogue
        would read its columns from the wrong places.
        """
        path = folder / "release.json"
        content = verified.read(folder, "release.json", None)
        meta = verified.read_json(content, path)
        if meta.get("format") != FORMAT:
            raise BundleError(f"{path}: unknown format", got=meta.get("format"), expected=FORMAT)
        try:
            release_id, files, listed = meta["release_id"], dict(meta["files"]), dict(meta["models"])
            catalogue, created_at = meta["catalogue_digest"], meta["created_at"]
            named = [str(name) for name in meta.get("documents", [])]
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path}: incomplete", got=sorted(meta), expected=str(error)) from None
        expected_id = release_digest(meta)
        if str(release_id).rpartition("-")[2] != expected_id:
            raise BundleError(
                f"{path} was altered", got=release_id, expected=f"...-{expected_id}", run="userops release"
            )
        for name, sha256 in sorted(files.items()):
            verified.read(folder, name, sha256)
        if catalogue_digest is not None and catalogue != catalogue_digest:
            raise BundleError(
                f"{path}: another feature catalogue",
                got=catalogue,
                expected=catalogue_digest,
                because="features/catalog.py changed since the models were trained",
                run="userops train && userops promote && userops release",
            )
        if unlisted := sorted(set(named) - set(files)):
            raise BundleError(f"{path}: a document is not among the files", got=unlisted, expected=sorted(files))
        documents = {name: verified.read(folder, name, files[name]) for name in named}
        models = {name: _model(folder, name, one, files, catalogue) for name, one in listed.items()}
        interest = models.pop(INTEREST, None)
        return cls(
            release_id=release_id,
            created_at=created_at,
            catalogue_digest=catalogue,
            models={name: model for name, model in models.items() if isinstance(model, Model)},
            digest=verified.sha256(content),
            meta=meta,
            interest=interest if isinstance(interest, InterestModel) else None,
            documents=documents,
        )


def release_digest(meta: Mapping[str, Any]) -> str:
    """Twelve hex digits of what a release says beside its own id."""
    rest = {key: value for key, value in meta.items() if key != "release_id"}
    canonical = json.dumps(rest, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return verified.sha256(canonical.encode("utf-8"))[7:19]


def current(releases_folder: Path) -> Path:
    """The folder of the release in force."""
    link = releases_folder / "current"
    try:
        target = os.readlink(link)
    except OSError:
        raise BundleError(
            f"{link}: no release yet",
            expected="a link to a release",
            run="userops train && userops promote && userops release",
        ) from None
    folder = releases_folder / target
    if Path(target).name != target or target in ("", ".", "..") or folder.is_symlink() or not folder.is_dir():
        raise BundleError(f"{link} does not name a release of its own folder", got=target, run="userops release")
    return folder


def _model(
    folder: Path, name: str, listed: Mapping[str, Any], files: Mapping[str, str], catalogue: str
) -> Model | InterestModel:
    manifest = f"{listed['folder']}/model.json"
    if manifest not in files or files[manifest] != listed["model_json_sha256"]:
        raise BundleError(
            f"{folder / 'release.json'}: {name}", got=files.get(manifest), expected=listed["model_json_sha256"]
        )
    kinds: dict[str, type[Model] | type[InterestModel]] = {INTEREST: InterestModel, VALUE: ValueModel}
    model = kinds.get(name, Model).load(folder / listed["folder"], listed["model_json_sha256"])
    for what, got, expected in (
        ("name", model.name, name),
        ("version", model.version, str(listed["version"])),
        ("catalogue_digest", model.catalogue_digest, catalogue),
    ):
        if got != expected:
            raise BundleError(f"{folder / manifest}: {what}", got=got, expected=expected, run="userops release")
    return model
