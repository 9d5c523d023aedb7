"""What reviewers read of the log: the newest decisions, those of one user, what came of one.

Pages are found by key, never by counting rows: the thousandth page costs what the first one does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from serving.log.database import Database, marks
from serving.log.values import storable

__all__ = ["Listed", "Place", "Received", "feedback_of", "listed"]

LARGEST_US = 2**63 - 1


class Place(NamedTuple):
    """Where a decision stands in time: what a page of older ones begins after."""

    decided_at_us: int
    decision_id: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a list of decisions; ``offer_ids`` are those shown, by rank, a fallback included.

    ``channel`` and ``placement`` are those of the offers, None where nothing was shown.
    """

    decision_id: str
    user_id: str
    decided_at_us: int
    status: str
    status_reason: str | None
    release_id: str
    offer_ids: tuple[str, ...] = ()
    channel: str | None = None
    placement: str | None = None

    @property
    def place(self) -> Place:
        """What the next page begins after."""
        return Place(self.decided_at_us, self.decision_id)


@dataclass(frozen=True, slots=True)
class Received:
    """One event of feedback as it was taken; ``offer_id`` is None where it names none (an unsubscribe)."""

    event_id: str
    offer_id: str | None
    rank: int | None
    type: str
    at_us: int
    received_at_us: int
    late: bool
    value: float | None = None
    currency: str | None = None
    channel: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def listed(database: Database, user_id: str | None, before: Place | None, most: int) -> list[Listed]:
    """At most ``most`` decisions older than ``before``, the newest first; of one user, or None: of all."""
    last = before or Place(LARGEST_US, "")
    if not storable(user_id, last.decision_id) or not -LARGEST_US <= last.decided_at_us <= LARGEST_US:
        return []  # what no log can hold, none does
    of_user, values = ("", ()) if user_id is None else ("user_id = ? AND ", (user_id,))
    found = database.read(
        "SELECT decision_id, user_id, decided_at_us, status, status_reason, release_id FROM decisions "
        f"WHERE {of_user}(decided_at_us, decision_id) < (?, ?) ORDER BY decided_at_us DESC, decision_id DESC LIMIT ?",
        (*values, *last, most),
    )
    shown: dict[str, list[tuple[str, str | None, str | None]]] = {row[0]: [] for row in found}
    if shown:
        for decision_id, *offer in database.read(
            "SELECT decision_id, offer_id, channel, placement FROM decision_offers "
            f"WHERE decision_id IN ({marks(list(shown))}) ORDER BY decision_id, rank",
            list(shown),
        ):
            shown[decision_id].append((offer[0], offer[1], offer[2]))
    lines = []
    for row in found:
        offers = shown[row[0]]
        where = offers[0][1:] if offers else ()
        parts: list[Any] = [*row, tuple(offer[0] for offer in offers), *where]
        lines.append(Listed(*parts))
    return lines


def feedback_of(database: Database, decision_id: str) -> list[Received]:
    """Every event of feedback on a decision, in the order in which they happened."""
    if not storable(decision_id):
        return []
    rows = database.read(
        "SELECT event_id, offer_id, rank, type, at_us, received_at_us, late, value, currency, channel, attributes "
        "FROM feedback WHERE decision_id = ? ORDER BY at_us, received_at_us, event_id",
        (decision_id,),
    )
    events = []
    for event_id, offer_id, rank, kind, at_us, received_us, late, *about, told in rows:
        known = event_id, offer_id or None, rank or None, kind, at_us, received_us, bool(late)
        parts: list[Any] = [*known, *about, json.loads(told)]
        events.append(Received(*parts))
    return events
