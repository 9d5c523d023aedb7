"""The rules in force, read from the release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Policy"]


@dataclass(frozen=True)
class Policy:
    """The rules in force: ``digest`` pins every byte of them, ``version`` is the name people gave it."""

    version: str
    digest: str

    @classmethod
    def load(cls, content: dict[str, Any]) -> Policy:
        """The policy that ``policy.json`` holds; rules compiled once."""
        raise NotImplementedError
