"""How often somebody may try wrong keys: a few times a minute, so that logs stay readable and pages free.

Keys have 256 random bits, which nobody guesses, and looking at one costs a SHA-256. So only keys that were refused are
counted and limited, and whoever holds a right one is never kept out, whatever others behind the same address try. Tries
are counted by the address and by the key that they name, if there is such a key; by each worker of the service.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Guesses", "guesses"]


class Guesses:
    """Counts failures in windows of ``seconds``; of ``most_places`` only, the oldest is forgotten for a new one.

    Examples
    --------
    >>> guesses = Guesses(most=2, clock=lambda: 0.0)
    >>> for _ in range(2):
    ...     guesses.failed("10.0.0.1", "")
    >>> guesses.wait("10.0.0.1", ""), guesses.wait("10.0.0.2", "")
    (60.0, 0.0)
    """

    def __init__(
        self,
        most: int = 10,
        seconds: float = 60.0,
        most_places: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self.seconds, self.most_places, self._clock = most, seconds, most_places, clock
        self._places: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str, key: str) -> float:
        """Seconds until the next failure is told of and counted; 0 when it is now."""
        with self._lock:
            began, failures = self._places.get((address, key), (0.0, 0))
            left = began + self.seconds - self._clock()
            return left if failures >= self.most and left > 0 else 0.0

    def failed(self, address: str, key: str) -> None:
        """Count one failure."""
        with self._lock:
            now = self._clock()
            began, failures = self._places.pop((address, key), (now, 0))
            if now - began >= self.seconds:
                began, failures = now, 0
            self._places[address, key] = (began, failures + 1)
            while len(self._places) > self.most_places:
                self._places.popitem(last=False)

    def __len__(self) -> int:
        return len(self._places)


#: Of this process: signing, entering the console and asking share what they have seen.
guesses = Guesses()
