"""Move champions so that a kill at any point leaves the old ones or the new ones, and the audit table says which.

::

    promoting ──► aliases move, all in one transaction ──► promoted
        └──────── killed here: abandoned ┘    └── killed here: promoted, by whoever comes next

The intent is written before anything moves, the outcome after. `settle` closes what a killed process left open by
looking at the aliases: they say whether it had moved. Promote, rollback and release begin with it. A release that was
killed before its rows were written gets them then, too.
"""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from configs import Config
from configs.audit import Entry, Row, alone, append, entries
from configs.errors import GateError, RegistryError
from training.aliases import aliases_of, move, run_of
from training.registry import CHAMPION, PREVIOUS

__all__ = ["OUTCOMES", "RELEASED", "Move", "carry_out", "released", "settle", "settled"]

#: What an intent becomes when it was carried out.
OUTCOMES = {"promoting": "promoted", "rolling_back": "rolled_back"}
ABANDONED, RELEASED = "abandoned", "released"

Note = Callable[[Row], None]


@dataclass(frozen=True)
class Move:
    """``version`` becomes the champion of ``model``; ``before``, the champion until now, becomes ``previous``."""

    model: str
    version: str
    run_id: str
    before: str | None
    comment: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


def carry_out(config: Config, action: str, moves: Sequence[Move], note: Note | None = None) -> list[Row]:
    """Record the intent, move all champions at once, record the outcome; return its rows.

    ``note`` is called for every row of the outcome before it counts as closed; it may be called again after a kill.

    Raises
    ------
    GateError
        When a champion is not the one that ``moves`` were decided against; nothing has moved then.
    """
    with settled(config, note):
        now = aliases_of(config, [one.model for one in moves])
        for one in moves:
            if now[one.model].get(CHAMPION) != one.before:
                raise GateError(
                    f"{one.model}: the champion changed while this was decided",
                    got=f"version {now[one.model].get(CHAMPION)}",
                    expected=f"version {one.before}",
                    because="somebody else promoted or rolled back",
                    run="the same command again",
                )
        together = uuid.uuid4().hex
        intents = append(config.audit_uri, *(_intent(config, action, one, together) for one in moves))
        _point(config, intents)
        return _close(config, intents, note, settled=False)


def settle(config: Config, note: Note | None = None) -> list[Row]:
    """Close what a killed process left open; return the rows that it lacked, most often none."""
    with settled(config, note) as rows:
        return rows


@contextmanager
def settled(config: Config, note: Note | None = None) -> Iterator[list[Row]]:
    """Nothing is left open, and nobody else moves a champion or releases, as long as one is within.

    Nobody else on this machine, that is; and nobody on another one where the audit table is in PostgreSQL: a team on
    several machines keeps it there (``USEROPS_AUDIT``). Gives the rows that `settle` returns. The locks die with their
    process.
    """
    config.home.mkdir(parents=True, exist_ok=True)
    with (config.home / "champions.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with alone(config.audit_uri):
            rows = entries(config.audit_uri)
            yield _settle_moves(config, note, rows) + _settle_release(config, rows)


def released(config: Config, who: str, release_id: str, versions: Mapping[str, str], **more: Any) -> list[Row]:
    """Record that ``versions``, by model, are in the release: a row each."""
    evidence = {"release_id": release_id, **more}
    said = [
        Entry(who, RELEASED, name, version, _run(config, name, version), "", evidence)
        for name, version in versions.items()
    ]
    return append(config.audit_uri, *said)


def _settle_release(config: Config, rows: Sequence[Row]) -> list[Row]:
    """The rows of the release in force, where whoever made it was killed before they were written."""
    try:
        made = json.loads((config.home / "releases" / "current" / "release.json").read_bytes())
        release_id, who = str(made["release_id"]), str(made.get("released_by", config.user))
        versions = {str(name): str(one["version"]) for name, one in made["models"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []  # there is none, or none that serving would take
    if any(row.action == RELEASED and row.evidence.get("release_id") == release_id for row in rows):
        return []
    return released(config, who, release_id, versions, settled_later=True)


def _run(config: Config, name: str, version: str) -> str:
    try:
        return run_of(config, name, version)
    except RegistryError:
        return ""  # a release of before this registry


def _settle_moves(config: Config, note: Note | None, rows: Sequence[Row]) -> list[Row]:
    closed = {row.evidence.get("intent") for row in rows}
    by_move: dict[str, list[Row]] = {}
    for row in rows:
        if row.action in OUTCOMES and row.digest not in closed:
            by_move.setdefault(row.evidence["together"], []).append(row)
    outcomes = []
    for intents in by_move.values():
        now = aliases_of(config, [row.model for row in intents])
        # Only where aliases move one by one can some have moved and others not: the judgement was for all of them.
        moved = any(now[row.model].get(CHAMPION) == row.version for row in intents)
        ours = [row for row in intents if moved and now[row.model].get(CHAMPION) in (row.version, _before(row))]
        if ours:
            _point(config, ours)
            outcomes += _close(config, ours, note, settled=True)
        if left := [row for row in intents if row not in ours]:
            outcomes += append(config.audit_uri, *(_outcome(row, ABANDONED, settled=True) for row in left))
    return outcomes


def _before(intent: Row) -> str | None:
    before: str | None = intent.evidence["before"]
    return before


def _point(config: Config, intents: Sequence[Row]) -> None:
    # The champion first: whoever is killed between the two, where they are two, is found to have moved.
    moves = {
        row.model: {CHAMPION: row.version, **({PREVIOUS: before} if (before := _before(row)) else {})}
        for row in intents
    }
    move(config, moves)


def _close(config: Config, intents: Sequence[Row], note: Note | None, *, settled: bool) -> list[Row]:
    for intent in intents:
        if note is not None:
            note(intent)
    return append(config.audit_uri, *(_outcome(row, OUTCOMES[row.action], settled=settled) for row in intents))


def _intent(config: Config, action: str, one: Move, together: str) -> Entry:
    evidence = {**one.evidence, "before": one.before, "together": together}
    return Entry(config.user, action, one.model, one.version, one.run_id, one.comment, evidence)


def _outcome(intent: Row, action: str, *, settled: bool) -> Entry:
    """The intent again, under the name of what came of it: a reader of this row alone finds the evidence."""
    kept = {name: value for name, value in asdict(intent).items() if name in Entry.__dataclass_fields__}
    evidence = {**intent.evidence, "intent": intent.digest, "settled_later": settled}
    return Entry(**{**kept, "action": action, "evidence": evidence})
