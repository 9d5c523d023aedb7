"""Ids of users as MLflow may hold them: its server is read by people who may not know who is meant."""

from __future__ import annotations

import hashlib
from collections.abc import Container
from typing import Any

__all__ = ["digits_of", "unnamed", "without"]

USER = "user_id"


def digits_of(user: object) -> str:
    """16 hexadecimal digits of SHA-256 of an id.

    Whoever has the ids can work the digits out again and join; nobody reads a name or a number of a telephone in them.

    Examples
    --------
    >>> digits_of("u1")
    'bb82030dbc2bcaba'
    """
    return hashlib.sha256(str(user).encode()).hexdigest()[:16]


def unnamed(content: Any) -> Any:
    """JSON with `digits_of` in place of every ``user_id``, however deep it lies.

    Examples
    --------
    >>> unnamed({"up": [{"user_id": "u1", "p": 0.5}]})
    {'up': [{'user_id': 'bb82030dbc2bcaba', 'p': 0.5}]}
    """
    if isinstance(content, dict):
        return {key: digits_of(one) if key == USER else unnamed(one) for key, one in content.items()}
    return [unnamed(one) for one in content] if isinstance(content, list) else content


def without(content: Any, gone: Container[object]) -> tuple[int, Any]:
    """How many entries of lists are about these people, and the JSON without them.

    Examples
    --------
    >>> without({"up": [{"user_id": "u1", "p": 0.5}, {"user_id": "u2"}]}, {"u1"})
    (1, {'up': [{'user_id': 'u2'}]})
    """
    if isinstance(content, dict):
        found = {key: without(one, gone) for key, one in content.items()}
        return sum(n for n, _ in found.values()), {key: one for key, (_, one) in found.items()}
    if not isinstance(content, list):
        return 0, content
    kept = [one for one in content if not (isinstance(one, dict) and USER in one and one[USER] in gone)]
    inner = [without(one, gone) for one in kept]
    return len(content) - len(kept) + sum(n for n, _ in inner), [one for _, one in inner]
