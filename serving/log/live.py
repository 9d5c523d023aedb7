"""The queue of live behaviour: stored once, read by the refresher in order, handed to the event store in the end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple

from serving.log.database import Database, Transaction, again, marks
from serving.log.erasure import among
from serving.log.rows import EventsAnswer, LiveEvent, QueueLag, ReceivedEvent, Rejected
from serving.log.values import finite, storable

__all__ = ["add", "expire", "lag", "mark_drained", "mark_refreshed", "pending", "undrained"]

COLUMNS = (
    "event_id, user_id, event_type, event_at_us, channel, category_id, item_id, store_id, order_id, quantity, amount, "
    "props"
)
AHEAD_US = 60_000_000  # how far a sender's clock may be before ours
AT_ONCE = 5_000

_INSERT = f"INSERT INTO live_events ({COLUMNS}, received_at_us) VALUES ({marks(range(13))})"
_SELECT = f"SELECT seq, received_at_us, {COLUMNS} FROM live_events "
_PROGRESS = (
    "INSERT INTO progress (name, seq, at_us) VALUES ('refreshed', ?, ?) ON CONFLICT (name) DO UPDATE SET at_us = "
    "excluded.at_us, seq = CASE WHEN excluded.seq > progress.seq THEN excluded.seq ELSE progress.seq END"
)


def add(database: Database, events: Sequence[LiveEvent], at_us: int) -> EventsAnswer:
    """Queue what is new and sound; name the rest.

    `INVALID_TEXT` and `INVALID_NUMBER`: no database can hold it. `FUTURE_TIMESTAMP`: more than a minute ahead.
    `CONFLICTING_EVENT`: its id is there with other content. `BEFORE_1970`: no instant of live behaviour. `FORGOTTEN`:
    nothing is taken of somebody whom `userops forget` has erased.
    """
    rejected: list[Rejected] = []
    sound: dict[str, LiveEvent] = {}
    places: dict[str, int] = {}
    duplicates = 0
    for place, event in enumerate(events):
        error = _unsound(event, at_us)
        twin = sound.get(event.event_id)
        if error is not None:
            rejected.append(Rejected(event.event_id, *error, place))
        elif twin is None:
            sound[event.event_id], places[event.event_id] = event, place
        elif twin == event:
            duplicates += 1
        else:
            rejected.append(_conflict(event, place))
    new, gone, there, last_seq = again(lambda: _queue(database, sound, at_us))
    rejected += [Rejected(one, "FORGOTTEN", "this person was erased by userops forget", places[one]) for one in gone]
    for event_id, before in there.items():
        if before == sound[event_id]:
            duplicates += 1
        else:
            rejected.append(_conflict(sound[event_id], places[event_id]))
    return EventsAnswer(new, duplicates, tuple(rejected), last_seq)


def _queue(
    database: Database, sound: Mapping[str, LiveEvent], at_us: int
) -> tuple[int, list[str], dict[str, LiveEvent], int]:
    """How many were new, those of people who were forgotten, those that were there before, and the last ``seq``."""
    # In turns, so that the queue grows in the order of `seq` and a reader of it misses none.
    with database.write("live events") as inside:
        people = among(database, inside, {event.user_id for event in sound.values()})
        gone = [event.event_id for event in sound.values() if event.user_id in people]
        there = _there(inside, list(sound))
        new = [event for event in sound.values() if event.event_id not in there and event.user_id not in people]
        inside.many(_INSERT, [(*astuple(event), at_us) for event in new])
        last_seq = inside.rows("SELECT coalesce(max(seq), 0) FROM live_events")[0][0]
    return len(new), gone, there, last_seq


def pending(database: Database, after_seq: int | None, most: int) -> list[ReceivedEvent]:
    """At most ``most`` events after ``after_seq``, or after the last refreshed one, in order of ``seq``."""
    after = "coalesce((SELECT seq FROM progress WHERE name = 'refreshed'), 0)" if after_seq is None else "?"
    values = (most,) if after_seq is None else (after_seq, most)
    return _received(database, f"{_SELECT} WHERE seq > {after} ORDER BY seq LIMIT ?", values)


def undrained(database: Database, user_ids: Collection[str] | None, after_seq: int, most: int) -> list[ReceivedEvent]:
    """At most ``most`` events that the event store does not hold, of these users or of all, in order of ``seq``."""
    if user_ids is None:
        return _received(database, f"{_SELECT} WHERE drained = 0 AND seq > ? ORDER BY seq LIMIT ?", (after_seq, most))
    users, found = list(dict.fromkeys(user_ids)), list[ReceivedEvent]()
    for start in range(0, len(users), AT_ONCE):
        part = users[start : start + AT_ONCE]
        found += _received(
            database,
            f"{_SELECT} WHERE user_id IN ({marks(part)}) AND drained = 0 AND seq > ? ORDER BY seq LIMIT ?",
            (*part, after_seq, most),
        )
    return sorted(found)[:most]


def lag(database: Database) -> QueueLag:
    """How far the online store and the event store are behind what was heard."""
    refreshed = "coalesce((SELECT seq FROM progress WHERE name = 'refreshed'), 0)"
    ((waiting, oldest_us, undrained),) = database.read(
        f"SELECT count(*), min(received_at_us), (SELECT count(*) FROM live_events WHERE drained = 0) "
        f"FROM live_events WHERE seq > {refreshed}"
    )
    return QueueLag(waiting, oldest_us, undrained)


def mark_refreshed(database: Database, seq: int, at_us: int) -> None:
    """Note how far the online store is."""
    with database.write() as inside:
        inside.run(_PROGRESS, (seq, at_us))


def mark_drained(database: Database, seqs: Collection[int]) -> int:
    """Note that the event store holds these events; how many were news."""
    asked, changed = list(seqs), 0
    with database.write() as inside:
        for start in range(0, len(asked), AT_ONCE):
            part = asked[start : start + AT_ONCE]
            changed += inside.run(
                f"UPDATE live_events SET drained = 1 WHERE seq IN ({marks(part)}) AND drained = 0", part
            )
    return changed


def expire(inside: Transaction, before_us: int) -> None:
    """Forget what was drained and received before ``before_us``: the event store has it."""
    inside.run("DELETE FROM live_events WHERE drained = 1 AND received_at_us < ?", (before_us,))


def _received(database: Database, sql: str, values: Sequence[object]) -> list[ReceivedEvent]:
    return [ReceivedEvent(seq, at_us, LiveEvent(*line)) for seq, at_us, *line in database.read(sql, values)]


def _there(inside: Transaction, ids: list[str]) -> dict[str, LiveEvent]:
    found: dict[str, LiveEvent] = {}
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        rows = inside.rows(f"SELECT {COLUMNS} FROM live_events WHERE event_id IN ({marks(part)})", part)
        found |= {row[0]: LiveEvent(*row) for row in rows}
    return found


def _unsound(event: LiveEvent, at_us: int) -> tuple[str, str] | None:
    texts = (event.event_id, event.user_id, event.event_type, event.channel, event.category_id, event.item_id)
    if not storable(*texts, event.store_id, event.order_id, event.props):
        return "INVALID_TEXT", "a text holds NUL or half a surrogate pair"
    if not finite(event.quantity, event.amount):
        return "INVALID_NUMBER", "quantity and amount must be finite"
    if event.event_at_us < 0:
        return "BEFORE_1970", "nothing is taken from before 1970"
    if event.event_at_us > at_us + AHEAD_US:
        return "FUTURE_TIMESTAMP", f"{(event.event_at_us - at_us) / 1e6:.0f} s ahead of this server's clock"
    return None


def _conflict(event: LiveEvent, place: int) -> Rejected:
    return Rejected(event.event_id, "CONFLICTING_EVENT", "this id was used for other content", place)
