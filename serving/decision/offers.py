"""The offers in force, read from the release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Catalogue"]


@dataclass(frozen=True)
class Catalogue:
    """All offers, as columns."""

    digest: str

    @classmethod
    def load(cls, content: dict[str, Any]) -> Catalogue:
        """The catalogue that ``offers.json`` holds."""
        raise NotImplementedError
