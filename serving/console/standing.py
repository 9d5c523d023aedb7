"""Where each model stands: which version speaks to customers, which one waits, and what was said of them.

In force is what the release holds; who promoted it, and what reviewers said, stands in the audit table; the versions
that one can read about are those of the desk. Challenger is the newest of them, if it is newer than the champion and
has not been one already: neither an older version that somebody brought back for reading nor one that was rolled back
waits for anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.audit import Row, entries
from configs.errors import AuditError
from configs.reviews import shown
from serving.console.asked import Asked
from serving.errors.problem import Problem

__all__ = [
    "Review",
    "Standing",
    "Version",
    "card_of",
    "no_version",
    "standing",
    "standings",
    "version_at",
    "version_of",
]


@dataclass(frozen=True)
class Review:
    """What a reviewer said; ``present`` says whether of the files that are there now, None where nobody knows."""

    row: Row
    present: bool | None


@dataclass(frozen=True)
class Version:
    """One version; ``role`` is champion, challenger or nothing, ``meta`` the released ``model.json`` where it is."""

    model: str
    number: str
    role: str
    card: Mapping[str, Any] | None
    checks: Mapping[str, Any] | None
    meta: Mapping[str, Any] | None
    rows: Sequence[Row] = ()

    @property
    def address(self) -> str:
        """Its page."""
        return f"/console/models/{self.model}/{self.number}"

    def latest(self, *actions: str) -> Row | None:
        """The last row of this version that tells of one of ``actions``."""
        return next((row for row in reversed(self.rows) if row.action in actions), None)

    def reviews(self) -> list[Review]:
        """What reviewers have to say now, the newest first: what counts at the gate, and open questions."""
        present = None if self.card is None else self.card.get("model_json")
        found = [Review(row, _about(row, present)) for row in shown(self.rows)]
        return sorted(found, key=lambda one: one.row.seq, reverse=True)

    def outcomes(self) -> dict[str, list[dict[str, Any]]]:
        """The checks by what came of them; ``blocked`` are issues of a blocker."""
        found: dict[str, list[dict[str, Any]]] = {}
        for one in (self.checks or {}).get("outcomes", []):
            blocks = one["status"] == "issue" and one["severity"] == "blocker"
            found.setdefault("blocked" if blocks else one["status"], []).append(one)
        return found


@dataclass(frozen=True)
class Standing:
    """One model: its champion and challenger, and what changed hands without having been released."""

    model: str
    champion: Version | None
    challenger: Version | None
    waiting: Row | None = None  # promoted or rolled back to, not released
    since: str | None = None  # when the champion came into force
    numbers: Sequence[str] = ()
    purpose: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[Row] = ()


def standings(asked: Asked) -> tuple[list[Standing], bool]:
    """All models that are configured, released or trained; and whether the audit table could be read."""
    released, configured = _released(asked), list(asked.live.config.models)
    names = dict.fromkeys([*configured, *sorted(released), *asked.desk.models()])
    try:
        rows, readable = entries(asked.live.config.audit_uri), True
    except AuditError:
        rows, readable = [], False
    of: dict[str, list[Row]] = {name: [row for row in rows if row.model == name] for name in names}
    return [_standing(asked, name, released.get(name), of[name]) for name in names], readable


def standing(asked: Asked, model: str) -> Standing:
    """One model; an unknown one is a 404."""
    released = _released(asked)
    if model not in {*asked.live.config.models, *released, *asked.desk.models()}:
        known = sorted({*asked.live.config.models, *released, *asked.desk.models()})
        raise Problem(404, "unknown-model", asked.t("models.unknown", model=model), expected=known)
    try:
        rows = entries(asked.live.config.audit_uri, model)
    except AuditError:
        rows = []
    return _standing(asked, model, released.get(model), rows)


def version_of(asked: Asked, model: str, version: str) -> str:
    """The number of a version that is named by its number, ``champion`` or ``challenger``; else a 404."""
    if version.isdecimal():
        return version
    if version in ("champion", "challenger"):
        found = getattr(standing(asked, model), version)
        if found is not None:
            return str(found.number)
    raise no_version(asked, model, version)


def card_of(asked: Asked, model: str, version: str) -> dict[str, Any]:
    """The card of a version by number or role; a 404 that says how it comes to be."""
    number = version_of(asked, model, version)
    card = asked.desk.read(model, number, "card.json")
    if card is None:
        raise no_version(asked, model, number)
    return card


def version_at(asked: Asked, known: Standing, card: Mapping[str, Any]) -> Version:
    """The version of a card, in the role that it has; ``known`` is the standing of its model."""
    number = str(card["version"])
    for one in (known.champion, known.challenger):
        if one is not None and one.number == number:
            return one
    return _version(asked, known.model, number, "", list(known.rows), None)


def no_version(asked: Asked, model: str, version: str) -> Problem:
    """What is wrong with a version that nobody can read about: it has no card, or there is none of this number."""
    known = standing(asked, model)
    there = {one.number for one in (known.champion, known.challenger) if one is not None} | set(known.numbers)
    if version in there:
        run = f"userops report {model} --version {version}"
        return Problem(404, "no-card", asked.t("models.no_card", model=model, version=version), expected=run)
    detail = asked.t("models.unknown_version", model=model, version=version)
    return Problem(404, "unknown-version", detail, expected=sorted(there, key=lambda one: (len(one), one)) or None)


def _standing(asked: Asked, name: str, meta: Mapping[str, Any] | None, rows: list[Row]) -> Standing:
    numbers = asked.desk.versions(name)
    moved = [row for row in rows if row.action in ("promoted", "rolled_back")]
    promoted = moved[-1] if moved else None
    in_force = str(meta["version"]) if meta is not None else None
    champion = in_force or (promoted.version if promoted else None)
    had_their_turn = {row.version for row in moved[:-1]} - {row.version for row in moved[-1:]}
    newest = next((one for one in numbers[:1] if champion is None or int(one) > int(champion)), None)
    newest = None if newest in had_their_turn else newest
    waiting = promoted if promoted is not None and promoted.version != in_force else None
    configured = asked.live.config.models.get(name)
    return Standing(
        name,
        None if champion is None else _version(asked, name, champion, "champion", rows, meta),
        None if newest is None else _version(asked, name, newest, "challenger", rows, None),
        waiting,
        _since(rows, in_force),
        numbers,
        (meta or {}).get("purpose") or (configured.purpose if configured else {}),
        rows,
    )


def _version(
    asked: Asked, model: str, number: str, role: str, rows: list[Row], meta: Mapping[str, Any] | None
) -> Version:
    card, checks = (asked.desk.read(model, number, name) for name in ("card.json", "checks.json"))
    return Version(model, number, role, card, checks, meta, [row for row in rows if row.version == number])


def _since(rows: list[Row], version: str | None) -> str | None:
    """When the version came into force without another one since."""
    since = None
    for row in reversed([row for row in rows if row.action == "released"]):
        if row.version != version:
            break
        since = row.at
    return since


def _released(asked: Asked) -> dict[str, Mapping[str, Any]]:
    live = asked.live.pickup.live
    if live is None:
        return {}
    found: dict[str, Mapping[str, Any]] = {name: served.model.meta for name, served in live.models.items()}
    if live.bundle.interest is not None:
        found[live.bundle.interest.name] = live.bundle.interest.meta
    return found


def _about(row: Row, present: str | None) -> bool | None:
    about = row.evidence.get("model_json")
    return None if not about or not present else about == present
