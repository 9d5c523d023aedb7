"""A process beside another one ends when it is told to, or when the one that started it is gone."""

from __future__ import annotations

import os
import signal
import threading

__all__ = ["STARTER", "environment", "starter", "until_told"]

#: Who started this process. Whoever asks the system for its parent a second later may be told of another one by then.
STARTER = "USEROPS_STARTER"


def environment() -> dict[str, str]:
    """The environment for a process that is to end with this one."""
    return {**os.environ, STARTER: str(os.getpid())}


def starter() -> int:
    """The number of the process with which this one ends: as it said itself, else the parent there is now."""
    told = os.environ.get(STARTER, "")
    return int(told) if told.isdecimal() else os.getppid()


def until_told(look_s: float = 1.0) -> threading.Event:
    """An event that SIGTERM, SIGINT or the end of the `starter` sets; for the main thread, once."""
    stop, parent = threading.Event(), starter()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        while os.getppid() == parent and not stop.wait(look_s):
            pass
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    return stop
