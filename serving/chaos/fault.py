"""What a fault is: something done to a running installation, and what must hold while it lasts and after."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.chaos.stage import Stage

__all__ = ["IN_SMALL", "Fault", "NotHeld", "Skipped", "require", "until"]

#: The test that makes a fault which needs nothing but a service.
IN_SMALL = "tests/serving/nbo/chaos/test_faults.py::test_what_must_hold_holds"


class NotHeld(Exception):
    """What must hold did not; the text says what was seen instead."""


class Skipped(Exception):
    """A fault that cannot be made on this machine; the text says what is missing."""


@dataclass(frozen=True)
class Fault:
    """One fault: ``inject`` does it to a stage and says what was seen, or raises `NotHeld` or `Skipped`.

    ``done`` is what is done, in words; ``tests`` are the tests that do the same or more in small, as pytest names them.
    """

    name: str
    done: str
    inject: Callable[[Stage], str]
    tests: tuple[str, ...]


def require(held: object, otherwise: str) -> None:
    """Raise `NotHeld` unless ``held`` is true.

    Examples
    --------
    >>> require(1 == 1, "numbers are broken")
    """
    if not held:
        raise NotHeld(otherwise)


def until(true: Callable[[], object], seconds: float, otherwise: str) -> float:
    """Ask again and again; the seconds after which the answer was true.

    Raises
    ------
    NotHeld
        When it never was within ``seconds``.

    Examples
    --------
    >>> until(lambda: True, 1.0, "never") < 1.0
    True
    """
    began = time.monotonic()
    while True:
        if true():
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise NotHeld(f"{otherwise} within {seconds:g} s")
        time.sleep(0.05)
