"""How long the stages of one answer take, and whether there is time for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

__all__ = ["Expectation", "OutOfTime", "Stopwatch"]


class OutOfTime(Exception):
    """The next stage would end after the time that the caller gives."""


class Expectation:
    """What each stage took lately, in seconds.

    A stage that is skipped for lack of time is expected a little shorter each time, so that one slow moment does not
    keep it from ever being tried again.

    Examples
    --------
    >>> expected = Expectation()
    >>> expected.took("score", 0.008), expected.of("score"), expected.of("explain")
    (None, 0.001, 0.0)
    """

    def __init__(self, weight: float = 0.125, forgiven: float = 0.9) -> None:
        self._weight, self._forgiven = weight, forgiven
        self._seconds: dict[str, float] = {}

    def of(self, *stages: str) -> float:
        """The seconds that these stages will take together."""
        return sum(self._seconds.get(stage, 0.0) for stage in stages)

    def took(self, stage: str, seconds: float) -> None:
        """One more of that stage is over."""
        before = self._seconds.get(stage, 0.0)
        self._seconds[stage] = before + self._weight * (seconds - before)

    def skipped(self, stage: str) -> None:
        """It was not tried."""
        self._seconds[stage] = self._forgiven * self._seconds.get(stage, 0.0)


class Stopwatch:
    """The time of one answer, by stage; ``timeout_ms`` None: all the time there is."""

    def __init__(self, expected: Expectation, timeout_ms: int | None) -> None:
        self.began = perf_counter()
        self.seconds: dict[str, float] = {}
        self._expected = expected
        self._until = None if timeout_ms is None else self.began + timeout_ms / 1e3

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done inside to stage ``name``."""
        began = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - began)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds to a stage."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def allows(self, stage: str, *then: str) -> bool:
        """Whether ``stage`` and what must follow it will be over in time."""
        if self._until is None or perf_counter() + self._expected.of(stage, *then) <= self._until:
            return True
        self._expected.skipped(stage)
        return False

    @property
    def total(self) -> float:
        """Seconds since the answer was begun."""
        return perf_counter() - self.began

    def close(self) -> None:
        """Let the next answers expect what this one took."""
        for stage, seconds in self.seconds.items():
            self._expected.took(stage, seconds)

    def timing_ms(self, *stages: str) -> dict[str, float]:
        """The ``timing_ms`` block: every stage named, and the total so far."""
        told = {stage: round(1e3 * self.seconds.get(stage, 0.0), 3) for stage in stages}
        return {**told, "total": round(1e3 * self.total, 3)}
