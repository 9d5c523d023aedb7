"""What training wrote for reviewers: ``home/desk/<model>/<version>/``, read when asked and kept while unchanged."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from configs.errors import UseropsError

__all__ = ["Desk"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")


class Desk:
    """The files of one home, as JSON; what is not there is None."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "desk"

    def models(self) -> list[str]:
        """The models of which some version has a card."""
        found = {path.parent.parent.name for path in self.folder.glob("*/*/card.json")}
        return sorted(name for name in found if _NAME.fullmatch(name))

    def versions(self, model: str) -> list[str]:
        """The versions of a model that have a card, the newest first."""
        if not _plain(model):
            return []
        found = [path.parent.name for path in (self.folder / model).glob("*/card.json")]
        return sorted((name for name in found if name.isdecimal()), key=int, reverse=True)

    def read(self, model: str, version: str, name: str) -> dict[str, Any] | None:
        """``card.json``, ``learned/<head>.json``, ``checks.json`` or ``versus-<version>.json`` of a version.

        Raises
        ------
        UseropsError
            When the file is there and cannot be read as JSON.
        """
        if not _plain(model, version, *name.split("/")):
            return None
        path = self.folder / model / version / name
        try:
            state = path.stat()
        except OSError:
            return None
        told = f"desk/{model}/{version}/{name}", f"userops report {model} --version {version}"
        return _parsed(path, state.st_mtime_ns, state.st_size, *told)

    def learned(self, model: str, version: str) -> set[str]:
        """The names, without their ending, of what a version's heads learned."""
        if not _plain(model, version):
            return set()
        return {path.stem for path in (self.folder / model / version / "learned").glob("[!.]*.json")}

    def whole(self, model: str, version: str) -> bool:
        """Whether a version has a card, what each head of it learned, and no file that cannot be read."""
        folder = self.folder / model / version
        try:
            card = self.read(model, version, "card.json")
            for path in folder.rglob("[!.]*.json"):
                self.read(model, version, path.relative_to(folder).as_posix())
        except UseropsError:
            return False
        if card is None:
            return False
        parts = ("", ".amount") if card.get("kind") == "value" else ("",)
        heads = [f"{head}{part}.json" for head in card.get("heads", {}) for part in parts]
        return all((folder / "learned" / name).exists() for name in heads)


def _plain(*parts: str) -> bool:
    """Whether each is the name of something in a folder: names come with requests, and lead nowhere else."""
    return all(_NAME.fullmatch(part) and set(part) != {"."} for part in parts)


@lru_cache(maxsize=64)
def _parsed(path: Path, changed_ns: int, size: int, told: str, again: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UseropsError(f"{told} cannot be read", got=str(error), run=again) from None
    if not isinstance(content, dict):
        raise UseropsError(f"{told} holds no object", got=type(content).__name__, run=again)
    return content
