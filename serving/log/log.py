"""The decision log: what was decided for whom and why, what came of it, and what people asked of us.

SQLite in WAL mode or PostgreSQL behind the same methods. What a method has returned from survives ``kill -9``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from serving.log import counts, decisions, erasure, feedback, live, people, pruning, reading
from serving.log.database import PATIENT_SECONDS, Database, connect
from serving.log.migrate import ensure
from serving.log.reading import Listed, Place, Received
from serving.log.rows import (
    ALL_CHANNELS,
    DAY_US,
    DecisionRow,
    EventsAnswer,
    Feedback,
    FeedbackAnswer,
    GlobalCount,
    LiveEvent,
    Logged,
    QueueLag,
    ReceivedEvent,
    UserState,
)

__all__ = ["DecisionLog"]

EXPIRE_EVERY_US = DAY_US // 24
KEEP_DRAINED_US = 100 * DAY_US


class DecisionLog:
    """One log; an instance serves all threads of a process, and each process opens its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._expire_at_us = 0

    @classmethod
    def open(cls, uri: str, within_s: float = PATIENT_SECONDS) -> DecisionLog:
        """The log at ``uri``, created or brought to this version's schema if need be, by one process at a time.

        What a server does not answer ``within_s`` seconds is a `LogError`.
        """
        database = connect(uri, within_s)
        try:
            ensure(database)
            erasure.learn_salt(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close the connections of the calling thread."""
        self._database.close()

    # decisions

    def request(self, request_id: str, since_us: int) -> Logged | None:
        """What was answered to ``request_id`` at or after ``since_us``."""
        return decisions.request(self._database, request_id, since_us)

    def record(self, row: DecisionRow, *, idempotent_us: int = DAY_US) -> Logged | None:
        """None when the decision was written; what is there when its request id came in the last ``idempotent_us``."""
        return decisions.record(self._database, row, idempotent_us)

    def decision(self, decision_id: str) -> DecisionRow | None:
        """The decision as it was recorded."""
        return decisions.decision(self._database, decision_id)

    def decisions(self, since_us: int, until_us: int) -> Iterator[DecisionRow]:
        """Every decision in [since_us, until_us), oldest first, in constant memory."""
        return decisions.decisions(self._database, since_us, until_us)

    def listed(self, user_id: str | None = None, before: Place | None = None, most: int = 50) -> list[Listed]:
        """At most ``most`` decisions older than ``before``, the newest first; of one user, or None: of all."""
        return reading.listed(self._database, user_id, before, most)

    def feedback_of(self, decision_id: str) -> list[Received]:
        """Every event of feedback on a decision, in the order in which they happened."""
        return reading.feedback_of(self._database, decision_id)

    def export(
        self,
        path: Path,
        since_us: int,
        until_us: int,
        *,
        reward_types: Collection[str] = ("click", "accept", "order"),
        attribution_us: int = 7 * DAY_US,
    ) -> int:
        """Write the offers of the decisions in [since_us, until_us) to Parquet under Open Bandit's names; how many."""
        from serving.log.export import export  # pyarrow, which a worker does not load

        return export(self._database, path, since_us, until_us, frozenset(reward_types), attribution_us)

    # what the next decision must know

    def state(
        self, user_id: str, at_us: int, *, after_us: int, counted: Collection[str] = (), since_us: int = 0
    ) -> UserState:
        """What is known of a user: actions in (at_us - 93 days, at_us], live events in (after_us, at_us].

        In the same round, what `global_counts` says of the offers ``counted``.
        """
        return people.state(self._database, user_id, at_us, after_us, counted, since_us)

    def global_counts(self, offer_ids: Collection[str], since_us: int) -> list[GlobalCount]:
        """Actions over all users per offer, event, UTC day and placement, from the day of ``since_us`` on."""
        return counts.offer_counts(self._database, offer_ids, since_us)

    def response_counts(self, since_us: int = 0) -> dict[str, tuple[int, int]]:
        """``channel: (shown, responded)``: offers decided, and those of them with a response, by day of decision."""
        return counts.channel_counts(self._database, since_us)

    # what came of it

    def feedback(
        self,
        events: Sequence[Feedback],
        key: str | None = None,
        *,
        at_us: int,
        body_digest: str | None = None,
    ) -> FeedbackAnswer:
        """Take each event that makes sense and name the others; ``at_us`` is now.

        Raises
        ------
        IdempotencyConflict
            ``key`` came in the last 24 h with another body.
        """
        return feedback.take(self._database, events, key, at_us, body_digest)

    # live behaviour

    def events(self, events: Sequence[LiveEvent], *, at_us: int) -> EventsAnswer:
        """Queue live events, once per event id; ``at_us`` is now."""
        return live.add(self._database, events, at_us)

    def pending_events(self, after_seq: int | None = None, most: int = 1000) -> list[ReceivedEvent]:
        """The next events of the queue after ``after_seq``; None: after the last one refreshed."""
        return live.pending(self._database, after_seq, most)

    def lag(self) -> QueueLag:
        """How many live events wait to become features, and since when."""
        return live.lag(self._database)

    def mark_refreshed(self, seq: int, *, at_us: int) -> None:
        """Note that the online store knows every event up to ``seq``; a smaller one than before moves only the time."""
        live.mark_refreshed(self._database, seq, at_us)

    def undrained_events(
        self, user_ids: Collection[str] | None = None, after_seq: int = 0, most: int = 100_000
    ) -> list[ReceivedEvent]:
        """Live events that the event store does not hold yet, of these users or of all, in order of ``seq``."""
        return live.undrained(self._database, user_ids, after_seq, most)

    def mark_drained(self, seqs: Collection[int]) -> int:
        """Note that the event store holds these events; how many were news."""
        return live.mark_drained(self._database, seqs)

    # people

    def set_personalization(self, user_id: str, on: bool, at_us: int) -> None:
        """Rank with or without knowledge of the person from now on, which is ``at_us``; the last word stands."""
        people.set_value(self._database, user_id, people.PERSONALIZATION, "", on, at_us)

    def unpersonalised(self, user_ids: Sequence[str]) -> frozenset[str]:
        """Those of the users who want no personalisation."""
        return people.unpersonalised(self._database, user_ids)

    def wishes(self, user_ids: Sequence[str]) -> list[tuple[str, str, str, bool]]:
        """Everything that these users asked of us: ``(user_id, kind, name, on)``, kinds as in ``people``."""
        return people.wishes(self._database, user_ids)

    def set_consent(self, user_id: str, purpose: str, on: bool, at_us: int) -> None:
        """Note a consent given or withdrawn."""
        people.set_value(self._database, user_id, people.CONSENT, purpose, on, at_us)

    def set_opted_out(self, user_id: str, channel: str | None, on: bool, at_us: int) -> None:
        """Note that a user is not to be approached on ``channel``, None: on any; or is again."""
        people.set_value(self._database, user_id, people.OPTED_OUT, channel or ALL_CHANNELS, on, at_us)

    def delete_tag(self, user_id: str, tag: str, at_us: int) -> None:
        """Note that ``tag`` is not to be used of this user any more."""
        people.set_value(self._database, user_id, people.DELETED_TAG, tag, True, at_us)

    def resolve(self, namespace: str, id: str) -> str | None:
        """The user behind an identity of another system."""
        return people.resolve(self._database, namespace, id)

    def identify(self, rows: Iterable[tuple[str, str, str]]) -> int:
        """Write ``(namespace, id, user_id)`` rows, each replacing what was said of that identity; how many."""
        return people.identify(self._database, rows)

    def identities(self, user_id: str) -> list[tuple[str, str]]:
        """``(namespace, id)`` of every identity of a user."""
        return erasure.identities(self._database, user_id)

    def is_forgotten(self, user_ids: Collection[str]) -> bool:
        """Whether `forget` was called for all of them."""
        return erasure.on_list(self._database, user_ids)

    def forget(self, user_ids: Sequence[str], at_us: int) -> dict[str, int]:
        """Remove persons, but for their identities, and write nothing of them again; rows removed, by kind.

        Counts over all users stay. Later decisions and wishes of theirs are `Forgotten`, live events rejected.
        """
        return erasure.forget(self._database, user_ids, at_us)

    def lift(self, user_ids: Sequence[str]) -> int:
        """Let things be written of these users again; how many of them were forgotten."""
        return erasure.lift(self._database, user_ids)

    def drop_identities(self, user_id: str) -> int:
        """Remove the identities of a user: the last step of forgetting."""
        return erasure.drop_identities(self._database, user_id)

    # upkeep

    def prunable(self, before_us: int, now_us: int) -> dict[str, int]:
        """How many rows `prune` would remove, by kind; those of vectors and histories are not told."""
        return pruning.prunable(self._database, before_us, now_us)

    def prune(self, before_us: int, now_us: int, show: Callable[[str, float], None]) -> dict[str, int]:
        """Remove decisions from before ``before_us`` with all that hangs on them; rows removed, by kind.

        Counts over all users stay. Raises LogError where what may still count would go: the last 93 days.
        """
        return pruning.prune(self._database, before_us, now_us, show)

    def maintain(self, at_us: int) -> None:
        """Move the write-ahead log into the database and forget what has expired; some process calls it every second.

        Gone are, looked for once an hour, Idempotency-Keys after 24 h and live events that the event store has had for
        100 days.
        """
        self._database.checkpoint()
        if at_us < self._expire_at_us:
            return
        self._expire_at_us = at_us + EXPIRE_EVERY_US
        with self._database.write() as inside:
            feedback.expire(inside, at_us)
            live.expire(inside, at_us - KEEP_DRAINED_US)
