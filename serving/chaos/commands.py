"""``kill -9`` of commands that write, and two of a kind at once: what was in force stays, and the next one ends it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from configs import load
from serving.chaos.fault import Fault, require
from serving.chaos.stage import Stage
from serving.scoring import Bundle, current

__all__ = ["FAULTS", "shop_of"]

SHARES = (0.35, 0.6, 0.75, 0.85, 0.95)  # of the time that the undisturbed command takes
TRAINING_SECONDS = (4.0, 9.0)


def ingest(stage: Stage) -> str:
    """An ingest is killed at several moments, then run to its end."""
    shop = shop_of(stage)
    words = ("ingest", "shop", "--data", str(shop))
    began = time.monotonic()
    stage.run(*words, home=stage.home.parent / "undisturbed")
    took = time.monotonic() - began
    home = stage.home.parent / "killed"
    killed = _some([_killed_at(stage, words, share, took, home) for share in SHARES])
    said = stage.run(*words, home=home)
    require(_content(home) == _content(home.with_name("undisturbed")), "other events than undisturbed")
    twice = stage.run(*words, home=home)
    require("accepted 0" in twice, f"the same file once more: {twice}")
    return f"killed {killed} times in {took:.1f} s; then {said}: the very events of an undisturbed ingest"


def publish(stage: Stage) -> str:
    """A publication is killed at several moments, then run to its end; somebody asks all the time."""
    began = time.monotonic()
    stage.run("features", "publish")
    return _disturbed(stage, ("features", "publish"), time.monotonic() - began)


def release(stage: Stage) -> str:
    """A release is killed at several moments, then made."""
    began = time.monotonic()
    stage.run("release")
    seen = _disturbed(stage, ("release",), time.monotonic() - began)
    stage.run("audit")
    return f"{seen}; the audit chain is whole"


def training(stage: Stage) -> str:
    """A training is killed at two moments, then run to its end."""
    champions = _champions(stage)
    killed = _some([_killed_at(stage, ("train", "churn"), 1.0, seconds, stage.home) for seconds in TRAINING_SECONDS])
    require(_champions(stage) == champions, "another champion")
    require((otherwise := stage.witness.differs(stage.service)) is None, str(otherwise))
    began = time.monotonic()
    stage.run("train", "churn")
    took = time.monotonic() - began
    require(_champions(stage) == champions, "another champion")
    moments = " and ".join(f"{seconds:g} s" for seconds in TRAINING_SECONDS)
    return f"killed {killed} times, after {moments} of {took:.0f}: same champion and answers; the next ended well"


def two_publishers(stage: Stage) -> str:
    """Two publications at the same time."""
    return _twice(stage, "features", "publish")


def two_releases(stage: Stage) -> str:
    """Two releases at the same time."""
    seen = _twice(stage, "release")
    Bundle.load(current(stage.home / "releases"))
    stage.run("audit")
    return f"{seen}; the audit chain is whole"


def shop_of(stage: Stage) -> Path:
    """The files of a very small shop, simulated when first needed."""
    folder = stage.home.parent / "small-shop"
    if not folder.exists():
        stage.run("simulate", str(folder), "--users", "150", "--days", "60", home=stage.home.parent / "elsewhere")
    return folder


def _twice(stage: Stage, *words: str) -> str:
    require((otherwise := stage.witness.differs(stage.service)) is None, f"before: {otherwise}")
    both = [stage.begin(*words) for _ in range(2)]
    ends = [stage.ended(one) for one in both]
    require(all(code == 0 for code, _ in ends), f"one ended with {max(ends)}")
    require((otherwise := stage.witness.differs(stage.service)) is None, f"after: {otherwise}")
    return "both ended well; answers as before"


def _disturbed(stage: Stage, words: tuple[str, ...], took: float) -> str:
    """Kill a command at several moments while the service is asked, then let it end."""
    service, witness = stage.service, stage.witness
    require((otherwise := witness.differs(service)) is None, f"before: {otherwise}")
    killed = []
    for share in SHARES:
        killed.append(_killed_at(stage, words, share, took, stage.home))
        require((otherwise := witness.differs(service)) is None, f"after a kill at {share:.0%}: {otherwise}")
        Bundle.load(current(stage.home / "releases"))
    stage.run(*words)
    time.sleep(1.5)  # whatever is new is picked up by now
    require((otherwise := witness.differs(service)) is None, f"at the end: {otherwise}")
    left = [path.name for path in (stage.home / "releases").iterdir() if path.name.startswith(".")]
    require(not left, f"what the dead ones left is not swept: {left}")
    return f"killed {_some(killed)} times in {took:.1f} s: answers as before each time; run again, it ended well"


def _killed_at(stage: Stage, words: tuple[str, ...], share: float, took: float, home: Path) -> bool:
    """Start a command and kill it after a share of the seconds that it took; whether it was still at work.

    Where it was quicker than that, once more, by what it took now: machines are busy and idle by turns.
    """
    for _ in range(2):
        began = time.monotonic()
        process = stage.begin(*words, home=home)
        try:
            process.communicate(timeout=share * took)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return True
        took = time.monotonic() - began
    return False


def _some(killed: list[bool]) -> int:
    """How many kills met their command at work: where none did, nothing was shown."""
    require(any(killed), "the command always ended before it was killed")
    return sum(killed)


def _content(home: Path) -> str:
    from features.events import content_hash

    return content_hash(load(home))


def _champions(stage: Stage) -> dict[str, str]:
    file = stage.folder / "status.json"
    stage.run("status", "--json", str(file))
    told = json.loads(file.read_bytes())
    return {name: str(value).partition(",")[0] for name, value in told.items() if "champion" in str(value)}


FAULTS = (
    Fault(
        "ingest-killed",
        "kill -9 of userops ingest at five moments",
        ingest,
        ("tests/features/test_ledger.py::test_a_writer_that_is_killed_leaves_no_half_batch",),
    ),
    Fault(
        "publish-killed",
        "kill -9 of userops features publish at five moments",
        publish,
        ("tests/features/test_online.py::test_a_publication_killed_half_way_leaves_nobody_half",),
    ),
    Fault(
        "release-killed",
        "kill -9 of userops release at five moments",
        release,
        (
            "tests/training/gate/test_released.py::"
            "test_a_release_that_was_killed_while_it_was_written_leaves_nothing_for_ever",
            "tests/training/gate/test_released.py::"
            "test_a_release_that_was_killed_before_its_row_gets_it_from_whoever_comes_next",
        ),
    ),
    Fault(
        "training-killed",
        "kill -9 of userops train at two moments, then run to its end",
        training,
        (
            "tests/training/retrain/test_work.py::test_killed_anywhere_the_same_is_left",
            "tests/training/gate/test_journal.py::test_kill_9_leaves_the_old_or_the_new_champion_and_a_record_of_it",
        ),
    ),
    Fault(
        "two-publishers",
        "userops features publish twice at once",
        two_publishers,
        ("tests/features/test_online.py::test_two_publications_at_once_both_end_and_the_newer_stays",),
    ),
    Fault(
        "two-releases",
        "userops release twice at once",
        two_releases,
        (
            "tests/training/gate/test_released.py::"
            "test_of_two_releases_at_once_one_comes_after_the_other_and_both_are_recorded",
        ),
    ),
)
