"""How many requests of this worker wait for the rest of their body: they are there, and hold nobody up."""

from __future__ import annotations

__all__ = ["Arriving", "arriving"]


class Arriving:
    """A number that is one higher inside the block.

    Examples
    --------
    >>> there = Arriving()
    >>> with there:
    ...     there.count
    1
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        """One more."""
        self.count += 1

    def drop(self) -> None:
        """One less."""
        self.count -= 1

    def __enter__(self) -> None:
        self.add()

    def __exit__(self, *_: object) -> None:
        self.drop()


#: Shared by the border, which receives bodies, and the socket, which counts who waits.
arriving = Arriving()
