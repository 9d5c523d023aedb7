"""On what a benchmark ran, and whether it had the machine for itself."""

from __future__ import annotations

import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

__all__ = ["BUSY", "Watch", "busy_before", "machine"]

BUSY = 0.5  # cores that others use, from which on a number is no number of a quiet machine


def machine() -> dict[str, Any]:
    """Cores this process may use, the processor's name, memory in GB, the kernel."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu_name(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def busy_before(seconds: float = 1.0) -> float | None:
    """Cores in use now, before anything of ours runs: the load average still holds the part before."""
    watch = Watch()
    time.sleep(seconds)
    return watch.others()


class Watch:
    """How many cores others used since it was made: all processor time less that of this process and its children.

    A child counts once it has ended and was waited for.
    """

    def __init__(self) -> None:
        self.began, self.busy, self.own = time.monotonic(), _busy_seconds(), _own_seconds()

    def others(self) -> float | None:
        """Cores, 0 or above; None where the system does not count."""
        if self.busy is None or (busy := _busy_seconds()) is None:
            return None
        used = busy - self.busy - (_own_seconds() - self.own)
        return round(max(0.0, used / (time.monotonic() - self.began)), 2)


def _busy_seconds() -> float | None:
    """Of all cores since the machine started: user, nice, system, interrupts."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:]
    except OSError:
        return None
    return sum(int(fields[place]) for place in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
