"""Forgetting one person: every step, in its order, and what each of them did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import features.forget
from configs import Config, audit
from features import forgotten
from features.forget import forget_events, forget_online, forget_snapshots, sweep_scratch
from serving.forget.lines import mask
from serving.forget.person import Person
from serving.log import DecisionLog
from serving.log.erasure import KINDS

__all__ = ["Done", "Place", "Training", "forget", "lift"]

Progress = Callable[[str, float], None]
ACTION, MODEL = "forget", "person"  # of the row in the audit table
SERVICE_LOG = "service.log"


class Version(Protocol):
    """A registered version of a model."""

    @property
    def model(self) -> str:
        """Its model."""

    @property
    def version(self) -> str:
        """Its number."""


class Artefacts(Protocol):
    """How many files of MLflow name the person by id, and by digits of a hash."""

    @property
    def named(self) -> int:
        """By id."""

    @property
    def hashed(self) -> int:
        """By digits."""


@dataclass(frozen=True)
class Training:
    """What training keeps of people, as whoever puts the command line together knows it."""

    forecasts: Callable[[Config, Sequence[str], Progress], int]
    desk: Callable[[Config, Sequence[str]], int]
    reports: Callable[[Config, Sequence[str]], list[str]]
    artefacts: Callable[[Config, Sequence[str]], Artefacts | None]
    seen_by: Callable[[Config, int | None], Sequence[Version]]


@dataclass(frozen=True)
class Place:
    """What one place held of the person and holds no more; ``name`` is a key of `serving.forget.words`."""

    name: str
    removed: int


@dataclass(frozen=True)
class Done:
    """What was done: ``digest`` names the person in the list of the home and in the audit table.

    ``nothing_left`` is True when no place held anything and the person was on both lists before. ``versions`` may have
    learned from the person; they are not trained again. ``first_event_known`` says whether they were told by the
    instant of the person's first event, or are all there are. ``scratch`` unfinished files may hold rows of
    anybody.
    """

    digest: str
    ids: int
    places: tuple[Place, ...]
    nothing_left: bool
    versions: dict[str, list[str]] = field(default_factory=dict)
    first_event_known: bool = False
    reports: tuple[str, ...] = ()
    artefacts_named: int | None = None
    artefacts_hashed: int | None = None
    scratch: int = 0
    audited: int | None = None

    @property
    def removed(self) -> int:
        """Over all places."""
        return sum(place.removed for place in self.places)


def forget(config: Config, logs: Sequence[DecisionLog], person: Person, training: Training, show: Progress) -> Done:
    """Take a person out of everything; killed anywhere, the same call finishes what it began.

    ``logs``: the decision log, and a file that was it before.
    Waits for whoever ingests or publishes. What a training run that is under way writes later of its sample of users is
    found by calling this again.
    """
    ids, before = person.user_ids, forgotten.listed(config)
    listed = all(one in before for one in ids)
    known = listed and all(log.is_forgotten(ids) for log in logs)

    def within(low: float, high: float, what: str) -> Progress:
        return lambda message, share: show(f"{what}: {message}", low + (high - low) * share)

    show("decision log", 0.0)
    at_us = int((config.now or datetime.now(UTC)).timestamp() * 1e6)
    logged = sum((Counter(log.forget(ids, at_us)) for log in logs), Counter[str]())
    events = forget_events(config, ids, within(0.05, 0.3, "events"))
    tables = forget_snapshots(config, ids, within(0.3, 0.6, "features"))
    show("online store", 0.6)
    online = forget_online(config, ids)
    forecasts = training.forecasts(config, ids, within(0.65, 0.8, "forecasts"))
    show("desk, reports", 0.8)
    desk, reports = training.desk(config, ids), training.reports(config, ids)
    lines = mask(config.home / SERVICE_LOG, ids)
    scratch = sweep_scratch(config)
    show("identities", 0.9)
    identities = sum(log.drop_identities(person.user_id) for log in logs)
    places = (
        *(Place(f"log_{name}", logged[name]) for name in KINDS),
        Place("events", events.events),
        Place("quarantine", events.quarantined),
        Place("attributes", events.attributes),
        *(Place(f"table_{name}", count) for name, count in tables.items()),
        Place("online", online),
        Place("forecasts", forecasts),
        Place("desk", desk),
        Place("reports", len(reports)),
        Place("lines", lines),
        Place("identities", identities),
    )
    digest = forgotten.listed(config).digest(person.user_id)
    removed = sum(place.removed for place in places)
    row, written = _audited(config, digest, {place.name: place.removed for place in places if place.removed})
    nothing_left = known and not removed and not written
    show("models", 0.95)
    # Who had no event has taught nobody; unless the events went in a run that was killed.
    taught = not nothing_left and (events.first_event_us is not None or listed)
    seen = training.seen_by(config, events.first_event_us) if taught else []
    versions: dict[str, list[str]] = {}
    for one in seen:
        versions.setdefault(one.model, []).append(one.version)
    kept = training.artefacts(config, ids)
    return Done(
        digest,
        len(ids),
        places,
        nothing_left,
        versions,
        events.first_event_us is not None,
        tuple(reports),
        None if kept is None else kept.named,
        None if kept is None else kept.hashed,
        scratch,
        row.seq if written else None,
    )


def lift(config: Config, logs: Sequence[DecisionLog], person: Person, show: Progress) -> int:
    """Let a person be known again who came back of their own will: off every list; on how many they were."""
    lists = features.forget.lift(config, person.user_ids, show) + sum(log.lift(person.user_ids) for log in logs)
    if lists:
        digest = forgotten.listed(config).digest(person.user_id)
        evidence = {"digest": digest, "lists": lists}
        audit.append(config.audit_uri, audit.Entry(config.user, "lift", MODEL, digest[:16], evidence=evidence))
    return lists


def _audited(config: Config, digest: str, removed: dict[str, Any]) -> tuple[audit.Row, bool]:
    """A row for each time something was removed, and for the first time in any case."""
    entry = audit.Entry(config.user, ACTION, MODEL, digest[:16], evidence={"digest": digest, "removed": removed})

    def said(rows: list[audit.Row]) -> audit.Row | None:
        # Who was let off the list since is forgotten once more.
        last = next((row for row in reversed(rows) if row.action in (ACTION, "lift")), None)
        return last if last is not None and last.action == ACTION and not removed else None

    return audit.append_unless(config.audit_uri, entry, said)
