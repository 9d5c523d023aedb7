"""What the log knows of one person: their state for the next decision, their wishes, their other names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from configs.errors import Forgotten
from serving.log.counts import day_of, offer_counts
from serving.log.database import Database, Row, Transaction, marks
from serving.log.erasure import among
from serving.log.rows import DAY_US, Action, GlobalCount, Health, LiveEvent, UserState
from serving.log.values import storable

__all__ = [
    "CONSENT",
    "DELETED_TAG",
    "NOT_INTERESTED",
    "OPTED_OUT",
    "PERSONALIZATION",
    "identify",
    "note",
    "resolve",
    "set_value",
    "state",
    "unpersonalised",
    "wishes",
]

ACTIONS_US = 93 * DAY_US  # the longest window of a cap is three months
AT_ONCE = 5_000
MOST_FRESH = 256  # the lines that a history holds

# The kinds of what is kept of a person under a name.
PERSONALIZATION, CONSENT, OPTED_OUT, DELETED_TAG = "personalization", "consent", "opted_out", "deleted_tag"
NOT_INTERESTED = "not_interested"
ON, OFF = "on", "off"

_TEXT, _REAL = "CAST(NULL AS TEXT)", "CAST(NULL AS DOUBLE PRECISION)"
_ABSENT_BUT_ONE = ", ".join([*[_TEXT] * 4, *[_REAL] * 2, _TEXT])
_ABSENT = f"{_TEXT}, {_ABSENT_BUT_ONE}"
_NOTHING = f"{_TEXT}, {_TEXT}, {_TEXT}, {_ABSENT}"
# One statement, so that all of it is of one instant, and one round to a server far away.
_STATE = f"""
SELECT 0, at_us, kind, name, value, {_ABSENT} FROM user_settings WHERE user_id = ?
UNION ALL SELECT 1, at_us, offer_id, event, placement, {_ABSENT} FROM actions
WHERE user_id = ? AND at_us > ? AND at_us <= ?
UNION ALL SELECT 2, event_at_us, event_id, user_id, event_type, channel, category_id, item_id, store_id, order_id,
quantity, amount, props FROM (SELECT * FROM live_events
WHERE user_id = ? AND event_at_us > ? AND event_at_us <= ? ORDER BY event_at_us DESC, seq DESC LIMIT {MOST_FRESH}) AS n
UNION ALL SELECT 3, coalesce(max(seq), 0), {_NOTHING} FROM live_events
UNION ALL SELECT 4, seq, {_NOTHING} FROM progress WHERE name = 'refreshed'
UNION ALL SELECT 5, at_us, {_NOTHING} FROM progress WHERE name = 'refreshed'
"""
_COUNTED = f"""
UNION ALL SELECT 6, CAST(sum(n) AS BIGINT), offer_id, event, day, placement, {_ABSENT_BUT_ONE}
FROM offer_counts WHERE offer_id IN ({{marks}}) AND day >= ? GROUP BY offer_id, day, event, placement
"""
_SET = (
    "INSERT INTO user_settings (user_id, kind, name, value, at_us) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (user_id, kind, name) DO UPDATE SET value = excluded.value, at_us = excluded.at_us "
    "WHERE user_settings.at_us <= excluded.at_us OR user_settings.at_us > ?"
)


def state(
    database: Database, user_id: str, at_us: int, after_us: int, counted: Collection[str] = (), since_us: int = 0
) -> UserState:
    """Wishes as they are now, actions in (at_us - 93 days, at_us], live events in (after_us, at_us], newest 256.

    In the same question, what `offer_counts` says of the offers ``counted``.
    """
    sql = _STATE
    values: list[Any] = [user_id, user_id, at_us - ACTIONS_US, at_us, user_id, after_us, at_us]
    together = 0 < len(counted) <= AT_ONCE
    if together:
        sql += _COUNTED.format(marks=marks(list(counted)))
        values += [*counted, day_of(since_us)]
    counts: list[GlobalCount] = [] if together or not counted else offer_counts(database, counted, since_us)
    settings: list[Row] = []
    actions: list[Action] = []
    fresh: list[LiveEvent] = []
    health = [0, 0, 0]
    for row in database.read(sql, values):
        part = row[0]
        if part == 1:
            actions.append(Action(row[2], row[3], row[4], row[1]))
        elif part == 2:
            fresh.append(LiveEvent(row[2], row[3], row[4], row[1], *row[5:]))
        elif part == 0:
            settings.append(row)
        elif part == 6:
            counts.append(GlobalCount(row[2], row[3], row[4], row[5] or None, row[1]))
        else:
            health[part - 3] = row[1]
    actions.sort(key=lambda action: action.at_us)
    fresh.reverse()
    on = {(kind, name) for _, _, kind, name, value, *_ in settings if value == ON}
    return UserState(
        user_id,
        personalization=(PERSONALIZATION, OFF) not in {(row[2], row[4]) for row in settings},
        consent={row[3]: row[4] == ON for row in settings if row[2] == CONSENT},
        opted_out=frozenset(name for kind, name in on if kind == OPTED_OUT),
        deleted_tags=frozenset(name for kind, name in on if kind == DELETED_TAG),
        not_interested={row[3]: row[1] for row in settings if row[2] == NOT_INTERESTED and row[4] == ON},
        actions=tuple(actions),
        fresh=tuple(fresh),
        health=Health(*health),
        counts=tuple(sorted(counts, key=lambda one: (one.offer_id, one.day, one.event, one.placement or ""))),
    )


def set_value(database: Database, user_id: str, kind: str, name: str, on: bool, at_us: int) -> None:
    """Note a wish that a person tells us now; it takes the place of any that was there."""
    with database.write("people") as inside:
        if among(database, inside, [user_id]):
            raise Forgotten
        note(inside, [(user_id, kind, name, on, at_us)], at_us)


def note(inside: Transaction, wishes: Iterable[tuple[str, str, str, bool, int]], now_us: int) -> None:
    """Write ``(user_id, kind, name, on, at_us)`` rows; the newest per name stands, of two equally new the last.

    What was noted at an instant that is still to come was noted by a clock that has been set back: it gives way.
    """
    rows = sorted((who, kind, name, ON if on else OFF, at_us) for who, kind, name, on, at_us in wishes)
    inside.many(_SET, [(*row, now_us) for row in rows])


def unpersonalised(database: Database, user_ids: Sequence[str]) -> frozenset[str]:
    """Those of the users who want no personalisation."""
    rows: list[Row] = []
    asked = [user_id for user_id in dict.fromkeys(user_ids) if storable(user_id)]
    for start in range(0, len(asked), AT_ONCE):
        part = asked[start : start + AT_ONCE]
        sql = f"SELECT user_id FROM user_settings WHERE user_id IN ({marks(part)}) AND kind = ? AND value = ?"
        rows += database.read(sql, (*part, PERSONALIZATION, OFF))
    return frozenset(row[0] for row in rows)


def wishes(database: Database, user_ids: Sequence[str]) -> list[tuple[str, str, str, bool]]:
    """Everything that these users asked of us: ``(user_id, kind, name, on)``."""
    rows: list[Row] = []
    asked = [user_id for user_id in dict.fromkeys(user_ids) if storable(user_id)]
    for start in range(0, len(asked), AT_ONCE):
        part = asked[start : start + AT_ONCE]
        sql = f"SELECT user_id, kind, name, value FROM user_settings WHERE user_id IN ({marks(part)})"
        rows += database.read(sql, part)
    return [(row[0], row[1], row[2], row[3] == ON) for row in rows]


def resolve(database: Database, namespace: str, id: str) -> str | None:
    """The user behind an identity of another system."""
    rows = database.read("SELECT user_id FROM identities WHERE namespace = ? AND id = ?", (namespace, id))
    return str(rows[0][0]) if rows else None


def identify(database: Database, rows: Iterable[tuple[str, str, str]]) -> int:
    """Write ``(namespace, id, user_id)`` rows, the last of equal identities, none of who was forgotten; how many."""
    latest = {(namespace, id): user_id for namespace, id, user_id in rows}
    with database.write("people") as inside:
        gone = among(database, inside, {*latest.values(), *map(":".join, latest)})
        latest = {key: one for key, one in latest.items() if one not in gone and ":".join(key) not in gone}
        inside.many(
            "INSERT INTO identities (namespace, id, user_id) VALUES (?, ?, ?) "
            "ON CONFLICT (namespace, id) DO UPDATE SET user_id = excluded.user_id",
            [(*key, user_id) for key, user_id in sorted(latest.items())],
        )
    return len(latest)
