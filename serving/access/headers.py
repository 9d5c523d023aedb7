"""Headers that every answer has; those that it brings itself, such as a page's policy, stay."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["HEADERS", "secured"]

#: Answers are about people: no cache keeps them, no page frames or embeds them, nothing in them is run.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_DROPPED = b"server"  # which software answers is nobody's business


def secured(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with what all have.

    Examples
    --------
    >>> len(secured([(b"cache-control", b"public"), (b"server", b"BentoML")])) == len(HEADERS)
    True
    """
    kept = [(name, value) for name, value in headers if name.lower() != _DROPPED]
    there = {name.lower() for name, _ in kept}
    kept += [one for one in HEADERS if one[0] not in there]
    return kept
