"""How often a key may ask: so many times in each window that its first question opens.

Counted by each worker for itself; where the online store is Redis, by all workers of all machines together, in it. A
Redis that does not answer is not waited for: for a while every worker counts for itself again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from configs.keys import Key

__all__ = ["Rates"]

_PATIENCE_S = 0.05  # what an answer may wait for Redis
_APART_S = 5.0  # and for how long nobody asks it again when it did not come
_log = logging.getLogger("bentoml.userops")


class Rates:
    """What the keys with a rate have asked; ``uri`` is the online store's.

    Examples
    --------
    >>> rates, key = Rates("sqlite"), Key("1", "wu", ("score",), "", "wu", "", rate="2/hour")
    >>> [rates.wait_s(key) > 0 for _ in range(3)]
    [False, False, True]
    """

    def __init__(self, uri: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._uri = uri if uri.startswith(("redis://", "rediss://")) else None
        self._clock = clock
        self._own: Any = None
        self._shared: Any = None
        self._apart_until = 0.0

    def wait_s(self, key: Key) -> float:
        """Count one question; 0 when it may be answered, else the seconds until the next one may."""
        if key.rate is None:
            return 0.0
        from limits import parse
        from limits.errors import StorageError

        rate = parse(key.rate)
        try:
            return self._asked(rate, key)
        except StorageError as error:
            _log.error("rates of keys are counted by each worker for now: %s", error)
            self._apart_until = self._clock() + _APART_S
            return self._asked(rate, key)

    def _asked(self, rate: Any, key: Key) -> float:
        limiter = self._limiter()
        if limiter.hit(rate, "userops", key.id):
            return 0.0
        ends: float = limiter.get_window_stats(rate, "userops", key.id).reset_time
        return min(max(ends - time.time(), 0.001), float(rate.get_expiry()))

    def _limiter(self) -> Any:
        from limits.strategies import FixedWindowRateLimiter

        if self._uri is not None and self._clock() >= self._apart_until:
            if self._shared is None:
                from limits.storage import storage_from_string

                patience = {"socket_timeout": _PATIENCE_S, "socket_connect_timeout": _PATIENCE_S}
                self._shared = FixedWindowRateLimiter(storage_from_string(self._uri, wrap_exceptions=True, **patience))
            return self._shared
        if self._own is None:
            from serving.access.counts import Counts

            self._own = FixedWindowRateLimiter(Counts(self._clock))
        return self._own
