"""A thread for what takes long, with a short queue before it: who would wait too long is told at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from serving.errors.problem import Problem
from serving.metrics import metrics

__all__ = ["Aside"]


class Aside(ThreadPoolExecutor):
    """One thread; ``most`` pieces of work may wait for it, the next is a 503.

    Examples
    --------
    >>> with Aside("thread", most=1) as thread:
    ...     thread.submit(abs, -3).result()
    3
    """

    def __init__(self, name: str, most: int, initializer: Callable[[], None] | None = None) -> None:
        super().__init__(max_workers=1, thread_name_prefix=name, initializer=initializer)
        self._name, self._most, self._there = name, most, 0
        self._counting = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a piece of work, or raise the 503."""
        with self._counting:
            full = self._there > self._most
            self._there += not full
        if full:
            metrics().shed(self._name)
            detail = "too much long work waits already; try again later, or ask for less at once"
            raise Problem(503, "overloaded", detail, headers={"retry-after": "2"})
        try:
            future = super().submit(fn, *args, **kwargs)
        except RuntimeError:  # the thread has ended
            self._done()
            raise
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object = None) -> None:
        with self._counting:
            self._there -= 1
