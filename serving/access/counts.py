"""Counts of one process for `limits`.

Its own memory starts a thread a hundred times a second, and a clock that is put back keeps it from forgetting.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from limits.storage import Storage

__all__ = ["Counts"]


class Counts(Storage):
    """Counts that end; one per key of the file, so that none has to be looked for and thrown away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[str, tuple[float, int]] = {}

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """What can go wrong here."""
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count ``amount`` more; the first ends ``expiry`` seconds later, and everything with it."""
        now = self._clock()
        ends, count = self._counts.get(key, (0.0, 0))
        if now >= ends:
            ends, count = now + expiry, 0
        self._counts[key] = ends, count + amount
        return count + amount

    def get(self, key: str) -> int:
        """What was counted."""
        ends, count = self._counts.get(key, (0.0, 0))
        return count if self._clock() < ends else 0

    def get_expiry(self, key: str) -> float:
        """When it ends, in seconds since 1970."""
        ends, _ = self._counts.get(key, (0.0, 0))
        return time.time() + max(0.0, ends - self._clock())

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int | None:
        """Forget everything; how much it was."""
        count = len(self._counts)
        self._counts.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one count."""
        self._counts.pop(key, None)
