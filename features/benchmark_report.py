"""What every benchmark shares: a clock, a scratch folder, a process of its own, the median, the agreed shape."""

from __future__ import annotations

import contextlib
import io
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from configs import Config
from configs.errors import UseropsError

__all__ = ["Progress", "alone", "clock", "peak_mb", "report", "scratch", "silence", "spread"]

Progress = Callable[[str, float], None]
ROOT = Path(__file__).parents[1]
LAST_WORDS = 800  # characters of what a process that failed said


def peak_mb() -> float:
    """The most memory that this program held.

    What the system counts for a process begins with what the one that started it held; what Linux says of its memory
    does not.

    Examples
    --------
    >>> peak_mb() > 1
    True
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(module: str, asked: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What ``python -m module JSON`` prints as its last line: measured in a process of its own, its memory its own.

    Raises
    ------
    UseropsError
        When it fails; it says with which words.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        raise UseropsError(f"{module} failed", got=done.returncode, because=done.stderr.strip()[-LAST_WORDS:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def clock(seconds: list[float], now: Callable[[], float] = time.perf_counter) -> Iterator[None]:
    """The seconds that the block takes, at the end of the list."""
    started = now()
    yield
    seconds.append(now() - started)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing that the block prints is seen."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def scratch(config: Config) -> Iterator[Path]:
    """A folder for the block, in the home."""
    (config.home / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=config.home / "tmp") as folder:
        yield Path(folder)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The median of the runs, and the range of nine tenths of them (all, when they are few).

    Examples
    --------
    >>> spread([3.0, 1.0, 2.0])
    {'value': 2.0, 'ci': [1.0, 3.0]}
    """
    low, high = np.quantile(values, [0.05, 0.95]) if len(values) >= 20 else (min(values), max(values))
    return {"value": statistics.median(values), "ci": [float(low), float(high)]}


def report(
    name: str,
    metrics: Mapping[str, Any],
    baselines: Mapping[str, Any],
    ratios: Mapping[str, float],
    settings: Mapping[str, Any],
    libraries: Sequence[str],
    started: float,
) -> dict[str, Any]:
    """The agreed shape of a benchmark; ``started`` is when it began, on the monotonic clock."""
    return {
        "benchmark": name,
        "metrics": metrics,
        "baselines": baselines,
        "ratios": ratios,
        "settings": settings,
        "versions": {"python": platform.python_version(), **{library: version(library) for library in libraries}},
        "seconds": time.monotonic() - started,
        "peak_mb": peak_mb(),
    }
