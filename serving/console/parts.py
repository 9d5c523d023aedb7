"""What the parts of the users are called: by how long they are with us, by channel, spend, store, category."""

from __future__ import annotations

import re
from typing import Any

from serving.console.naming import category_said
from serving.console.words import Words

__all__ = ["by_words", "natural", "part_words"]

ORDERS = {
    "tenure": ("up to 30 d", "31-90 d", "91-365 d", "over 365 d"),
    "value": ("none", "low", "middle", "high"),
}


def natural(by: str, part: str) -> tuple[Any, ...]:
    """What sorts the parts of one kind: by time or size, stores by name with numbers as such, others stay as they are.

    Examples
    --------
    >>> sorted(["31-90 d", "unknown", "over 365 d", "up to 30 d"], key=lambda part: natural("tenure", part))
    ['up to 30 d', '31-90 d', 'over 365 d', 'unknown']
    >>> sorted(["s10", "s2", "unknown"], key=lambda part: natural("store", part))
    ['s2', 's10', 'unknown']
    """
    order, last = ORDERS.get(by, ()), part == "unknown"
    if by == "store":
        pieces = re.findall(r"\d+|\D+", part)
        return last, [(not one.isdecimal(), int(one) if one.isdecimal() else 0, one) for one in pieces]
    return last, order.index(part) if part in order else len(order)


def by_words(t: Words, by: str) -> str:
    """What users are parted by."""
    return t.or_code("parts.by", by)


def part_words(t: Words, by: str, part: str) -> str:
    """One part; names of stores stand for themselves.

    Examples
    --------
    >>> from serving.console.words import words
    >>> part_words(words("zh"), "tenure", "up to 30 d"), part_words(words("zh"), "store", "up to 30 d")
    ('30天以内', 'up to 30 d')
    """
    if by in ("store", "category") and part != "unknown":
        return part if by == "store" else category_said(t, part)
    key = f"parts.{by}.{re.sub('[^a-z0-9]+', '_', part.lower())}"
    return t(key) if t.known(key) else t.or_code("parts.any", part)
