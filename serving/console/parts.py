"""What the parts of the users are called: by how long they are with us, by channel, spend, store, category."""

from __future__ import annotations

import re

from serving.console.words import Words

__all__ = ["by_words", "part_words"]


def by_words(t: Words, by: str) -> str:
    """What users are parted by."""
    return t.or_code("parts.by", by)


def part_words(t: Words, by: str, part: str) -> str:
    """One part; names of stores and categories stand for themselves.

    Examples
    --------
    >>> from serving.console.words import words
    >>> part_words(words("zh"), "tenure", "up to 30 d"), part_words(words("zh"), "store", "up to 30 d")
    ('30天以内', 'up to 30 d')
    """
    if by in ("store", "category") and part != "unknown":
        return part
    key = f"parts.{by}.{re.sub('[^a-z0-9]+', '_', part.lower())}"
    return t(key) if t.known(key) else t.or_code("parts.any", part)
