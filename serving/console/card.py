"""The page of card."""

from __future__ import annotations

from serving.console.asked import Asked
from serving.console.page import Page

__all__ = ["page"]


def page(asked: Asked) -> Page:
    """Answer ``GET``."""
    return Page("card.html", "card", "models")
