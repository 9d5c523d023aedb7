"""The page of models."""

from __future__ import annotations

from serving.console.asked import Asked
from serving.console.page import Page

__all__ = ["page"]


def page(asked: Asked) -> Page:
    """Answer ``GET``."""
    return Page("models.html", "models", "models")
