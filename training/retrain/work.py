"""One retraining as a file: which steps are done and what they said; written whole, before and after every step.

A kill at any point leaves either the state before a step or after it. Steps may therefore be begun twice, and each one
must leave the same behind whether it was begun once or twice.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from configs.errors import UseropsError

__all__ = ["Busy", "Step", "Unreadable", "Work", "alone", "carry_on"]

Progress = Callable[[str, float], None]


class Busy(UseropsError):
    """Another retraining is at work in this home."""


class Unreadable(UseropsError):
    """A file that should hold the state of a retraining does not."""


@dataclass
class Work:
    """The state of one retraining; ``done`` holds what each finished step said, in order.

    ``notes`` are what an unfinished step must not forget. ``outcome`` is empty while there is something left to do.
    ``gave_up`` says which unfinished work this one stands in for, and why that was given up.
    """

    file: Path
    id: str
    model: str
    began_at: str
    catalogue: str
    run_id: str = ""
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    outcome: str = ""
    gave_up: str = ""

    @classmethod
    def read(cls, file: Path) -> Work | None:
        """The state in ``file``; None when there is none.

        Raises
        ------
        Unreadable
            When the file is no state of this program: damaged, or of another version of it.
        """
        try:
            return cls(file=file, **json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise Unreadable(
                f"{file} is no state of a retraining",
                got=str(error),
                expected=sorted(one.name for one in fields(cls) if one.name != "file"),
                because="the file is damaged, or another version of userops wrote it",
                run=f"userops retrain {file.stem} --fresh",
            ) from None

    def save(self) -> None:
        """Write the state; when this returns it survives a crash."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        content = {name: value for name, value in asdict(self).items() if name != "file"}
        partial = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        with partial.open("w", encoding="utf-8") as written:
            json.dump(content, written, indent=1, ensure_ascii=False, default=str)
            written.flush()
            os.fsync(written.fileno())
        partial.replace(self.file)

    def note(self, name: str, value: object) -> Any:
        """``value``, or what was noted under ``name`` when this step was begun before."""
        if name not in self.notes:
            self.notes[name] = value
            self.save()
        return self.notes[name]


@dataclass(frozen=True)
class Step:
    """``do`` does the step and says what came of it, as JSON; ``{"end": outcome}`` in it ends the retraining there."""

    name: str
    do: Callable[[Work], Mapping[str, Any]]


def carry_on(work: Work, steps: Sequence[Step], last: str, show: Progress | None = None) -> Work:
    """Do whatever is left; ``last`` is the outcome when every step is done."""
    for place, step in enumerate(steps):
        if work.outcome:
            break
        if step.name in work.done:
            continue
        if show is not None:
            show(step.name, place / len(steps))
        said = dict(step.do(work))
        work.done[step.name] = said
        work.notes.clear()
        work.outcome = str(said.get("end", ""))
        work.save()
    if not work.outcome:
        work.outcome = last
        work.save()
    return work


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else within; the lock dies with its process, however that dies.

    Raises
    ------
    Busy
        At once, when another process is within.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Busy(
                "another retraining is at work",
                got=f"process {file.read().strip() or '?'}",
                expected="one at a time",
                run="the same command again when that process has ended",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
