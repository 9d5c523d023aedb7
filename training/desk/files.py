"""The one way in which every part of a version's desk is written: as JSON, the whole file or none of it."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from features.forgotten import holding
from training.run import Run
from training.unnamed import unnamed, without

__all__ = ["FOLDER", "HASHED", "as_json", "desk_folder", "log_desk", "write"]

#: In the home, and among the artefacts of a version's run.
FOLDER = "desk"
#: What a file says of itself whose users are named by `training.unnamed.digits_of`.
HASHED = "users_hashed"


def desk_folder(home: Path, model: str, version: str) -> Path:
    """Where the files of one version lie, whether there are any or not."""
    return home / FOLDER / model / version


def write(home: Path, model: str, version: str, name: str, content: Mapping[str, Any]) -> Path:
    """Write ``name`` (``card.json``, ``learned/<head>.json``) of a version: readers see the file before or the new one.

    Numbers of numpy become those of JSON, and what is no number becomes null. Nobody who was forgotten is in it, be it
    since the content was made.
    """
    path = desk_folder(home, model, version) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with holding(home) as forgotten:
        _, kept = without(as_json(content), forgotten)
        text = json.dumps(kept, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".part.", delete=False) as part:
            try:
                part.write(text)
                part.flush()
                os.fsync(part.fileno())
                os.chmod(part.name, 0o644)
                os.replace(part.name, path)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    return path


def log_desk(home: Path, run: Run, model: str, version: str) -> None:
    """Store the desk of a version with its run: the same files, users named by digits, and `HASHED` said of them."""
    folder = desk_folder(home, model, version)
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(folder.rglob("[!.]*.json")):
            target = Path(scratch) / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = json.loads(path.read_text(encoding="utf-8"))
            if not content.get(HASHED):  # digits of digits would join with nothing
                hidden = unnamed(content)
                content = hidden if hidden == content else {**hidden, HASHED: True}
            text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
            target.write_text(text, encoding="utf-8")
        run.folder(Path(scratch), FOLDER)


def as_json(content: Any) -> Any:
    """``content`` with plain numbers, lists and texts as keys; NaN and infinity are None.

    Examples
    --------
    >>> as_json({"rows": np.int64(3), "p": np.array([0.5, np.nan])})
    {'rows': 3, 'p': [0.5, None]}
    """
    if isinstance(content, Mapping):
        return {str(key): as_json(one) for key, one in content.items()}
    if isinstance(content, np.ndarray | list | tuple):
        return [as_json(one) for one in (content.tolist() if isinstance(content, np.ndarray) else content)]
    if isinstance(content, np.generic):
        return as_json(content.item())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
