"""Who belongs to which group, and the dice of one decision: hashes only, no state, no clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

__all__ = ["PERIODS", "dice", "period_of", "seed_of", "share_of"]

PERIODS = ("week", "month", "quarter", "year", "always")


def share_of(salt: str, *parts: str) -> float:
    """A number in [0, 1), the same for the same texts on every machine; uniform over users.

    Examples
    --------
    >>> share_of("h1", "u_1", "2026-11") == share_of("h1", "u_1", "2026-11")
    True
    """
    text = "\x1f".join((salt, *parts))
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64


def period_of(at_us: int, period: str) -> str:
    """The name of the period, in UTC, that holds an instant: what keeps a holdout stable inside it.

    Examples
    --------
    >>> [period_of(0, period) for period in PERIODS]
    ['1970-W01', '1970-01', '1970-Q1', '1970', 'always']
    """
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    if period == "week":
        year, week, _ = at.isocalendar()
        return f"{year}-W{week:02d}"
    if period == "quarter":
        return f"{at.year}-Q{(at.month + 2) // 3}"
    return {"month": f"{at.year}-{at.month:02d}", "year": f"{at.year}", "always": "always"}[period]


def seed_of(decision_id: str) -> int:
    """The 63-bit seed of a decision: a function of its id alone."""
    return int.from_bytes(sha256(b"decision\x1f" + decision_id.encode("utf-8", "surrogatepass")).digest()[:8]) >> 1


def dice(seed: int) -> Callable[[], float]:
    """Independent uniform numbers in [0, 1), one per call, the same sequence for the same seed for ever.

    SHA-256 in counter mode: a library's generator may change its stream from one version to the next.
    """
    block = sha256(seed.to_bytes(8))
    turn = 0

    def throw() -> float:
        nonlocal turn
        drawn = block.copy()
        drawn.update(turn.to_bytes(4))
        turn += 1
        return (int.from_bytes(drawn.digest()[:8]) >> 11) / 2**53

    return throw
