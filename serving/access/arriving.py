"""How many requests of this worker wait for the rest of their body: they are there, and hold nobody up."""

from __future__ import annotations

__all__ = ["Arriving", "arriving"]


class Arriving:
    """A number that is one higher inside the block.

    Examples
    --------
    >>> with (there := Arriving()):
    ...     there.count
    1
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


#: Shared by the border, which receives bodies, and the socket, which counts who waits.
arriving = Arriving()
