"""``userops benchmark all``: every benchmark in a process of its own, one after the other, and one table of them all.

A part that is finished is kept: the same command goes on after Ctrl-C or ``kill -9``, with the same code and sizes.
A part that fails is named, and the others still run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from configs import Config
from configs.databases import EMBEDDED
from configs.errors import UseropsError
from serving.benchmark_machine import BUSY, Watch, busy_before, machine
from serving.benchmark_parts import Part
from serving.benchmark_table import company, lines_of

__all__ = ["Run", "benchmark_all", "failed", "unfinished"]

Progress = Callable[[str, float], None]
ROOT = Path(__file__).parents[1]
LAST_WORDS = 600  # characters of what a failed part said
QUICK_SECONDS = 20.0


@dataclass(frozen=True)
class Run:
    """One run of ``parts``; ``file`` is where its result goes, ``code`` what the parts measure.

    ``say`` hears of each part once it has ended.
    """

    parts: Sequence[Part]
    file: Path
    code: str
    quick: bool = False
    say: Callable[[str], None] = lambda said: None


def benchmark_all(config: Config, run: Run, progress: Progress | None = None) -> dict[str, Any]:
    """Measure every part that no earlier call with the same ``run.code`` and sizes has finished; write ``run.file``.

    Returns
    -------
    dict
        The agreed shape, and beside it ``parts``: by name the part's own JSON, with ``run`` (when, how long, how busy
        the machine was besides) and, where it failed, ``error``; ``table``: the lines people read.
    """
    show = progress or (lambda message, fraction: None)
    found = _begun(run)
    waiting = [part for part in run.parts if part.name not in found or "error" in found[part.name]]
    expected = {part.name: _expected(run, part) for part in waiting}
    total = sum(expected.values()) or 1.0
    for name in (part.name for part in run.parts if part not in waiting):
        run.say(f"{name}: finished before, {found[name]['seconds']:.0f} s")
    done = 0.0
    for number, part in enumerate(waiting):
        place, long = f"{number + 1} of {len(waiting)}: {part.name}", expected[part.name]

        def tell(seconds: float, place: str = place, long: float = long, done: float = done) -> None:
            show(f"{place}, {seconds:.0f} s of about {long:.0f}", (done + min(seconds, long)) / total)

        try:
            home = _home(config, part, partial(show, f"{place}, walking the whole way (not measured)", done / total))
            apart = {} if home == config.home else EMBEDDED  # what the walked shop holds lies in its files
            found[part.name] = one = _measure(part, home, run.quick, tell, apart)
        except UseropsError as error:  # no home to measure in
            found[part.name] = one = {"benchmark": part.name, "error": str(error), "run": {"seconds": 0.0}}
        done += long
        _write(unfinished(run.file), _whole(run, found))
        run.say(_said(part.name, one))
    whole = _whole(run, found)
    _write(run.file, whole)
    if not failed(whole):
        unfinished(run.file).unlink(missing_ok=True)
        shutil.rmtree(_shop(config), ignore_errors=True)
    return whole


def failed(whole: Mapping[str, Any]) -> list[str]:
    """The parts without numbers."""
    return [name for name, one in whole["parts"].items() if "error" in one]


def unfinished(file: Path) -> Path:
    """Where finished parts wait for the others."""
    return file.with_name(f"{file.name}.unfinished")


def _begun(run: Run) -> dict[str, Any]:
    """The parts of an earlier call that can stand beside those of this one."""
    try:
        earlier = json.loads(unfinished(run.file).read_text(encoding="utf-8"))
        same = earlier["settings"]["code"] == run.code and earlier["settings"]["quick"] == run.quick
        parts: dict[str, Any] = earlier["parts"]
    except (OSError, ValueError, KeyError, TypeError):  # not there, or none of ours
        return {}
    named = {part.name for part in run.parts}
    return {name: one for name, one in parts.items() if name in named} if same else {}


def _expected(run: Run, part: Part) -> float:
    """Seconds: as the last whole run took here, or as two quiet cores take."""
    try:
        last = json.loads(run.file.read_text(encoding="utf-8"))
        if last["settings"]["quick"] == run.quick and last["parts"][part.name]["run"]["seconds"] > 0:
            return float(last["parts"][part.name]["run"]["seconds"])
    except (OSError, ValueError, KeyError):
        pass
    return QUICK_SECONDS if run.quick and part.can_be_quick else part.seconds


def _measure(
    part: Part, home: Path, quick: bool, tell: Callable[[float], None], apart: Mapping[str, str]
) -> dict[str, Any]:
    """The part's own JSON, or ``error``; and ``run``."""
    started, load = datetime.now(UTC), os.getloadavg()[0]
    before, watch, began = busy_before(), Watch(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="userops-benchmark-") as folder:
        file, log = Path(folder) / "part.json", Path(folder) / "log"
        command = [*part.command(quick), "--json", str(file)]
        with log.open("wb") as output, _child(command, {**apart, "USEROPS_HOME": str(home)}, output) as child:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = child.wait(timeout=0.5)
                    break
                tell(time.monotonic() - began)
        one: dict[str, Any]
        try:
            one = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            one = {"benchmark": part.name}
        if code or "metrics" not in one:
            said = log.read_text(encoding="utf-8", errors="replace").strip()[-LAST_WORDS:]
            one |= {"error": f"exit code {code}: {said}"}
    about = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": time.monotonic() - began,
        "load_average": round(load, 2),
        "others_cores_before": before,
        "others_cores": watch.others(),
    }
    return {**one, "seconds": one.get("seconds", about["seconds"]), "run": about}


@contextlib.contextmanager
def _child(command: Sequence[str], variables: Mapping[str, str], output: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block; Ctrl-C reaches it once, through us, and it may tidy up."""
    environment = {**os.environ, **variables, "COLUMNS": "200"}
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)  # a session of its own: nobody else is in it
                child.wait()


def _home(config: Config, part: Part, show: Callable[[], None]) -> Path:
    """The home given, when it serves; else, for parts that ask a release, that of a small shop walked once."""
    if not part.asks_release or (config.home / "releases" / "current").exists():
        return config.home
    from serving.benchmark_stage import demo_shop

    home, walked = _shop(config), _shop(config) / "walked"
    if not walked.exists():
        show()
        shutil.rmtree(home, ignore_errors=True)
        demo_shop(replace(config, home=home, now=None))
        walked.touch()
    return home


def _shop(config: Config) -> Path:
    return config.home / "tmp" / "benchmark-shop"


def _whole(run: Run, found: Mapping[str, Any]) -> dict[str, Any]:
    """Everything measured so far, in the order of the parts."""
    parts = {part.name: found[part.name] for part in run.parts if part.name in found}
    lines = lines_of(run.parts, parts, run.quick)
    measured = [one for one in parts.values() if "error" not in one]
    versions: dict[str, str] = {}
    for one in measured:
        versions |= one["versions"]
    return {
        "benchmark": "all",
        "metrics": {line.metric: {"value": line.ours, "ci": None} for line in lines if line.ours is not None},
        "baselines": {},
        "ratios": {line.against: line.ratio for line in lines if line.ratio is not None},
        "settings": {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "code": run.code,
            "quick": run.quick,
            "machine": machine(),
            "missing": [part.name for part in run.parts if part.name not in found],
        },
        "versions": dict(sorted(versions.items())),
        "seconds": sum(one["run"]["seconds"] for one in parts.values()),
        "peak_mb": max((one["peak_mb"] for one in measured), default=0.0),
        "parts": parts,
        "table": [line.as_json() for line in lines],
    }


def _said(name: str, one: Mapping[str, Any]) -> str:
    about = one["run"]
    said = f"{name}: {about['seconds']:.0f} s"
    if "error" in one:
        return f"{said}, FAILED, {one['error']}"
    busy = company(one)
    return said + (f", while others used {busy:.1f} cores: measure again on a quiet machine" if busy > BUSY else "")


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    scratch.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(scratch, file)
