"""A folder for the counters of each service: BentoML empties the one of its home at every start, whoever else runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

__all__ = ["own_counters"]

VARIABLE = "BENTOML_HOME"
FOLDER = "service"  # of the home


def own_counters(home: Path, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variable under which a service that this process becomes, or ends with, shares its counters with nobody.

    Empty where ``given`` names a folder already, as images do, or the home cannot be written. What services left that
    have ended goes.

    Examples
    --------
    >>> own_counters(Path("/no/such/home"), {"BENTOML_HOME": "/tmp/bentoml"})
    {}
    """
    if given.get(VARIABLE):
        return {}
    mine = home / FOLDER / str(os.getpid())
    try:
        for left in (home / FOLDER).glob("*"):
            if left == mine or not _runs(left.name):
                shutil.rmtree(left, ignore_errors=True)
        mine.mkdir(parents=True)
    except OSError:
        return {}
    return {VARIABLE: str(mine)}


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # of somebody else
        pass
    return True
