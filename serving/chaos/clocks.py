"""The clock of a running service jumps: forward by days and back again, then back before the present.

A few lines of C (``shim.c``, compiled here, ``LD_PRELOAD``) shift what the wall clock says to all processes of the
service; timers run on the monotonic clock, as they do when an administrator sets the time.
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serving.chaos.asking import decide
from serving.chaos.fault import Fault, Skipped, require, until
from serving.chaos.killed import feedback_entry
from serving.chaos.service import Service
from serving.chaos.stage import WITNESSES, Stage

__all__ = ["FAULTS"]

FORWARD = timedelta(days=3)
BACK = timedelta(hours=-1)
BACK_SECONDS = 30.0


class Clock:
    """How far the clock of a process tree is from ours."""

    def __init__(self, folder: Path, start: timedelta) -> None:
        self.file, self._start = folder / "clock", start
        self.file.write_bytes(bytes(8))
        self.jump(timedelta())

    def jump(self, by: timedelta) -> None:
        """From now on it is ``by`` from where it was at the start."""
        seconds = round((self._start + by).total_seconds())
        with self.file.open("r+b") as stream:
            stream.write(seconds.to_bytes(8, "little", signed=True))


def jumps(stage: Stage) -> str:
    """Three days forward, back, one hour before the present, and back."""
    now = datetime.now(UTC)
    clock = Clock(stage.folder, (stage.now or now) - now)
    environment = {"LD_PRELOAD": str(_library(stage.folder)), "USEROPS_CHAOS_CLOCK": str(clock.file)}
    user, witness = stage.users[WITNESSES], stage.witness
    folder = stage.folder / "clocked"
    folder.mkdir()
    held = stage.environment(**environment)
    held.pop("USEROPS_NOW", None)
    service = Service(folder, held)
    try:
        service.start()
        require((otherwise := witness.differs(service)) is None, f"before: {otherwise}")
        first, other = (decide(service, user, request_id=name) for name in ("chaos-clock", "chaos-clock-old"))
        require(first.status == other.status == 200, f"offers: {first.refusal}, {other.refusal}")

        clock.jump(FORWARD)
        told = service.post("/v1/score/churn", {"user_ids": [user], "explain": {"level": "none"}}).told
        require(told["features"]["stale"] == [user], "three days forward: features are not called stale")
        require((otherwise := witness.differs(service)) is None, f"forward: {otherwise}")
        forward = decide(service, user).told
        require(forward["features"]["stale"] == [user], "three days forward: offers do not call features stale")
        anew = decide(service, user, request_id="chaos-clock-old")
        require(
            anew.status == 200 and anew.content != other.content, "three days forward: an old id is not decided anew"
        )

        clock.jump(BACK)
        again = decide(service, user, request_id="chaos-clock")
        require(again.content == first.content, "one hour back: a repeated request_id is decided again")
        early = decide(service, user).told
        shown = {"events": [feedback_entry("chaos-clock-e", early)]}
        for accepted, duplicates in ((1, 0), (0, 1)):
            got = service.post("/v1/feedback", shown).told
            require((got["accepted"], got["duplicates"]) == (accepted, duplicates), f"back: feedback {got}")

        clock.jump(timedelta())
        until(lambda: witness.differs(service) is None, BACK_SECONDS, "not as before")
        ids = {one["decision_id"] for one in (first.told, forward, anew.told, early, decide(service, user).told)}
        require(len(ids) == 5, "two decisions have one id")
        require(service.get("/readyz").status == 200, "/readyz is not 200")
    finally:
        service.stop()
    return "+3 days: same scores, named stale; -1 h: repeated ids answered the same, feedback counted once; as before"


def _library(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Skipped("no C compiler for the library that shifts the clock")
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Skipped(f"the C compiler cannot: {done.stderr.strip()[:200]}")
    return library


FAULTS = (
    Fault(
        "clock-jumps",
        "the wall clock 3 days forward, back, 1 hour before, and back",
        jumps,
        ("tests/serving/nbo/chaos/test_clock.py::test_forward_is_named_stale_and_back_decides_nothing_twice",),
    ),
)
