"""The files of one model: ``model.json``, boosters as LightGBM's text, arrays as ``.npy``; each under its SHA-256.

Arrays are memory-mapped, so all workers of a machine share one copy; they are verified once, when the model is loaded,
and nobody may write to a release that is in force.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs.errors import BundleError
from serving.scoring import verified

__all__ = ["FORMAT", "Folder", "file_names", "read_folder", "write_folder"]

FORMAT = 1
REQUIRED = ("name", "version", "run_id", "features", "catalogue_digest", "boosters", "heads", "created_at")


@dataclass(frozen=True)
class Folder:
    """What one model folder holds, verified; ``digest`` is that of ``model.json``, which pins every other file."""

    path: Path
    meta: dict[str, Any]
    boosters: dict[str, lgb.Booster]
    arrays: dict[str, NDArray[Any]]
    digest: str

    @property
    def where(self) -> str:
        """What errors name."""
        return str(self.path / "model.json")


def read_folder(folder: Path, expected_sha256: str | None = None) -> Folder:
    """The files in ``folder``; every one is verified before it is parsed, and unpickled never."""
    path = folder / "model.json"
    content = verified.read(folder, "model.json", expected_sha256)
    meta = verified.read_json(content, path)
    if meta.get("format") != FORMAT:
        raise BundleError(f"{path}: unknown format", got=meta.get("format"), expected=FORMAT)
    if missing := [key for key in REQUIRED if key not in meta]:
        raise BundleError(f"{path}: missing {missing[0]!r}", got=sorted(meta), expected=list(REQUIRED))
    try:
        boosters = {name: _booster(folder, one["file"], one["sha256"]) for name, one in meta["boosters"].items()}
        arrays = {name: _array(folder, one) for name, one in meta.get("arrays", {}).items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise BundleError(f"{path} does not have the shape of a model", got=repr(error)) from None
    return Folder(folder, meta, boosters, arrays, verified.sha256(content))


def file_names(meta: Mapping[str, Any]) -> list[str]:
    """Every file of a model folder, ``model.json`` first."""
    listed = [*meta["boosters"].values(), *meta.get("arrays", {}).values()]
    return ["model.json", *(str(one["file"]) for one in listed)]


def write_folder(
    folder: Path,
    meta: Mapping[str, Any],
    boosters: Mapping[str, str],
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write the files of a model; ``folder`` is new or empty.

    Parameters
    ----------
    meta
        ``model.json`` without ``format`` and without files and hashes; ``boosters.<name>`` may hold settings.
    boosters
        The LightGBM text (``Booster.model_to_string()``) of every booster.
    arrays
        Of numbers; an array of Python objects is refused.
    """
    if set(boosters) != set(meta["boosters"]):
        raise BundleError(f"{folder}: boosters", got=sorted(boosters), expected=sorted(meta["boosters"]))
    folder.mkdir(parents=True, exist_ok=True)
    described, laid = {}, {}
    for name, text in boosters.items():
        described[name] = {**meta["boosters"][name], **_written(folder, f"{name}.txt", text.encode("utf-8"))}
    for name, array in (arrays or {}).items():
        laid[name] = _written(folder, f"{name}.npy", _npy(folder, name, array))
    document = {"format": FORMAT, **meta, "boosters": described, **({"arrays": laid} if laid else {})}
    try:
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(f"{folder}/model.json: a value is not JSON", got=str(error)) from None
    verified.write(folder / "model.json", text.encode("utf-8") + b"\n")


def _written(folder: Path, file: str, content: bytes) -> dict[str, str]:
    verified.write(folder / file, content)
    return {"file": file, "sha256": verified.sha256(content)}


def _booster(folder: Path, file: str, sha256: str) -> lgb.Booster:
    content = verified.read(folder, file, sha256)
    try:
        return lgb.Booster(model_str=content.decode("utf-8"))
    except (lgb.basic.LightGBMError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder / file} is not a LightGBM model", got=str(error)) from None


def _array(folder: Path, listed: Mapping[str, str]) -> NDArray[Any]:
    verified.read(folder, listed["file"], listed["sha256"])
    path = folder / listed["file"]
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BundleError(f"{path} is not an array of numbers", got=str(error), run="userops release") from None
    return np.asarray(mapped)  # a plain view: every slice of a memmap object costs microseconds


def _npy(folder: Path, name: str, array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    try:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    except ValueError as error:
        raise BundleError(f"{folder}: array {name!r}", got=str(error), expected="an array of numbers") from None
    return stream.getvalue()
