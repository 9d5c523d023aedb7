"""Faults one after another on one stage: what was seen of each, and whether what must hold held."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs import Config
from configs.errors import UseropsError
from serving.chaos.fault import Fault, NotHeld, Skipped
from serving.chaos.soak import soak
from serving.chaos.stage import Stage, lay

__all__ = ["Outcome", "injected", "run", "stage_of"]

Show = Callable[[str, float], None]
ROOM_MB, TIMES = 256, 2  # of the disk: beside the home itself, and how often that may lie there


@dataclass(frozen=True)
class Outcome:
    """What came of a fault; ``held`` is None where this machine cannot make it."""

    name: str
    done: str
    seen: str
    held: bool | None
    seconds: float


def run(config: Config | None, faults: Sequence[Fault], minutes: float | None, show: Show) -> dict[str, Any]:
    """Make every fault on a copy of the home of ``config``, or on a small shop; or, given minutes, soak it."""
    began = time.monotonic()
    with stage_of(config, show) as stage:
        show("starting the service", 0.0)
        stage.witness  # noqa: B018 - where nothing answers there is nothing to break
        if minutes is not None:
            try:
                found: dict[str, Any] = {"soak": soak(stage, minutes, show)}
            except NotHeld as error:
                raise UseropsError(f"the soak did not hold: {error}") from None
        else:
            outcomes = []
            for number, fault in enumerate(faults):
                show(fault.name, number / len(faults))
                outcomes.append(injected(fault, stage))
            found = {"faults": [asdict(one) for one in outcomes]}
        disk = "tmpfs" if stage.disk.mounted else "RLIMIT_FSIZE"
    return {**found, "disk": disk, "seconds": round(time.monotonic() - began, 1)}


def injected(fault: Fault, stage: Stage) -> Outcome:
    """Make a fault; whatever goes wrong in it means that it did not hold."""
    began = time.monotonic()
    held: bool | None = False
    try:
        seen, held = fault.inject(stage), True
    except Skipped as reason:
        seen, held = f"skipped: {reason}", None
    except NotHeld as error:
        seen = str(error)
    except UseropsError as error:
        seen = " ".join(str(error).split())
    except Exception as error:  # the next fault may still be made
        seen = f"{type(error).__name__}: {error}"
    return Outcome(fault.name, fault.done, seen, held, round(time.monotonic() - began, 1))


@contextmanager
def stage_of(config: Config | None, show: Show) -> Iterator[Stage]:
    """A stage in a temporary folder; nothing of it is left, also when this process is told to end."""
    before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        with tempfile.TemporaryDirectory(prefix="userops-chaos-", ignore_cleanup_errors=True) as folder:
            size = sum(path.stat().st_size for path in config.home.rglob("*") if path.is_file()) if config else 0
            stage = Stage(Path(folder), ROOM_MB + TIMES * size // 2**20, now=config.now if config else None)
            try:
                lay(stage, config, show)
                yield stage
            finally:
                stage.close()
    finally:
        signal.signal(signal.SIGTERM, before)
