"""A soak: a bounded load for a long time, and whether the memory of any process grows with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from serving.chaos.acknowledged import check_decisions
from serving.chaos.asking import check_refusal, decisions, telling
from serving.chaos.callers import Callers
from serving.chaos.fault import require
from serving.chaos.killed import view_entry
from serving.chaos.stage import WITNESSES, Stage

__all__ = ["Slope", "slope_of", "soak"]

CALLS_PER_SECOND = 20.0
EVERY_SECONDS = 2.0
WARM = 0.25  # the share of the time that counts as warming up
MOST_MB_PER_HOUR = 20.0
LEAST_MINUTES = 20.0  # allocators go on growing for minutes before they reuse
CALLERS = 2


@dataclass(frozen=True)
class Slope:
    """How the memory of one process changed after the warm-up: a line through its samples, the 95 % of its slope."""

    name: str
    first_mb: float
    last_mb: float
    mb_per_hour: float
    low: float
    high: float


def slope_of(name: str, samples: Sequence[tuple[float, float]]) -> Slope:
    """The least-squares line through ``(seconds, MB)``; neighbours are alike, so its error counts blocks, not samples.

    Examples
    --------
    >>> slope_of("w", [(float(s), 100.0 + s / 3600) for s in range(100)]).mb_per_hour
    1.0
    """
    seconds, megabytes = np.array(samples, dtype=float).T
    hours = (seconds - seconds[0]) / 3600
    blocks = max(3, min(10, len(hours) // 4))
    slope = float(np.polyfit(hours, megabytes, 1)[0])
    at, height = (np.array([part.mean() for part in np.array_split(of, blocks)]) for of in (hours, megabytes))
    centred = at - at.mean()
    rest = height - height.mean() - slope * centred
    error = float(np.sqrt((rest**2).sum() / (blocks - 2) / (centred**2).sum()))
    first, last = round(float(megabytes[0]), 1), round(float(megabytes[-1]), 1)
    return Slope(name, first, last, round(slope, 3), slope - 2 * error, slope + 2 * error)


def soak(stage: Stage, minutes: float, show: Callable[[str, float], None]) -> dict[str, Any]:
    """Ask, tell and score for so many minutes at a bounded rate, sampling the memory of every process.

    Returns
    -------
    dict
        ``slopes`` of each process, and ``refusals``: how often each reason was given why a question was not answered.
        They are no failure: a machine with other work refuses what it cannot answer in time.

    Raises
    ------
    NotHeld
        When a process is gone before the end, an answer is neither 200 nor a refusal that says when to come again, or
        what was acknowledged is lost.
    """
    service, log = stage.service, stage.log()
    pids = {f"worker {n}": pid for n, pid in enumerate(service.workers())}
    pids |= {f"follower {n}": pid for n, pid in enumerate(service.follower())} | {"parent": service.process.pid}
    users = stage.users[WITNESSES:]
    deciding, seeing = decisions(users), telling("/v1/events", lambda name: view_entry(stage, name), each=1)
    began = time.monotonic()
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in pids}
    total = minutes * 60
    pause = CALLERS / CALLS_PER_SECOND
    with (
        Callers(service.port, deciding, CALLERS, pause=pause) as asked,
        Callers(service.port, seeing, 1, pause=10 * pause) as told,
    ):
        while (passed := time.monotonic() - began) < total:
            for name, pid in pids.items():
                require(psutil.pid_exists(pid), f"{name} is gone")
                samples[name].append((passed, psutil.Process(pid).memory_info().rss / 2**20))
            show(f"soak: {len(asked.asked):,} answers", passed / total)
            time.sleep(min(EVERY_SECONDS, max(0.0, total - passed)))
    refusals: Counter[str] = Counter()
    for one in (*asked.asked, *told.asked):
        if one.reply.status != 200:
            check_refusal(one.question.path, one.reply)
            refusals[one.reply.refusal] += 1
    kept = check_decisions(log, asked)
    log.close()
    slopes = [slope_of(name, of[int(WARM * len(of)) :]) for name, of in samples.items()]
    judged = [vars(one) | {"held": _held(one, minutes)} for one in slopes]
    answers = len(asked.asked) + len(told.asked)
    found = {"minutes": minutes, "answers": answers, "refusals": dict(refusals.most_common()), "kept": kept}
    return {**found, "slopes": judged, "samples": samples}


def _held(slope: Slope, minutes: float) -> bool | None:
    """Whether memory is steady; None where a rise may still be the warm-up."""
    rises = slope.low > MOST_MB_PER_HOUR
    return None if rises and minutes < LEAST_MINUTES else not rises
