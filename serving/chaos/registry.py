"""Every fault that can be made, in the order in which they are made; the first ones are the quickest."""

from __future__ import annotations

from collections.abc import Sequence

from configs.errors import UseropsError
from serving.chaos import bundles, clocks, commands, full, killed, loads, stores, values
from serving.chaos.fault import Fault

__all__ = ["FAULTS", "named"]

FAULTS: tuple[Fault, ...] = (
    *values.FAULTS,
    *bundles.FAULTS,
    *stores.FAULTS,
    *killed.FAULTS,
    *full.FAULTS,
    *commands.FAULTS,
    *clocks.FAULTS,
    *loads.FAULTS,
)


def named(names: Sequence[str] | None) -> list[Fault]:
    """The faults of these names, in their order here; all of them where none is named.

    Examples
    --------
    >>> named(["no-such"])
    Traceback (most recent call last):
    configs.errors.UseropsError: there is no such fault
      got: no-such
      run: userops chaos --list
    """
    known = {fault.name for fault in FAULTS}
    if unknown := [name for name in names or () if name not in known]:
        raise UseropsError("there is no such fault", got=", ".join(unknown), run="userops chaos --list")
    return [fault for fault in FAULTS if not names or fault.name in names]
