"""The decision log: what was decided for whom and why, what came of it, and what people asked of us.

SQLite in WAL mode or PostgreSQL behind the same methods. What a method has returned from survives ``kill -9``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from serving.log.rows import (
    DAY_US,
    DecisionRow,
    EventsAnswer,
    Feedback,
    FeedbackAnswer,
    GlobalCount,
    LiveEvent,
    Logged,
    ReceivedEvent,
    UserState,
)

__all__ = ["DecisionLog"]


class DecisionLog:
    """One log; an instance serves all threads of a process, and each process opens its own."""

    @classmethod
    def open(cls, uri: str) -> DecisionLog:
        """The log at ``uri``, created or brought to this version's schema if need be, by one process at a time."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connections of the calling thread."""
        raise NotImplementedError

    # decisions

    def request(self, request_id: str, since_us: int) -> Logged | None:
        """What was answered to ``request_id`` at or after ``since_us``."""
        raise NotImplementedError

    def record(self, row: DecisionRow, *, idempotent_us: int = DAY_US) -> Logged | None:
        """None when the decision was written; what is there when its request id came in the last ``idempotent_us``."""
        raise NotImplementedError

    def decision(self, decision_id: str) -> DecisionRow | None:
        """The decision as it was recorded."""
        raise NotImplementedError

    def decisions(self, since_us: int, until_us: int) -> Iterator[DecisionRow]:
        """Every decision in [since_us, until_us), oldest first, in constant memory."""
        raise NotImplementedError

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
        raise NotImplementedError

    # what the next decision must know

    def state(self, user_id: str, at_us: int, *, after_us: int) -> UserState:
        """What is known of a user: actions in (at_us - 93 days, at_us], live events in (after_us, at_us]."""
        raise NotImplementedError

    def global_counts(self, offer_ids: Collection[str], since_us: int) -> list[GlobalCount]:
        """Actions over all users per offer, event, UTC day and placement, from the day of ``since_us`` on."""
        raise NotImplementedError

    def response_counts(self, since_us: int = 0) -> dict[str, tuple[int, int]]:
        """``channel: (shown, responded)``: offers decided, and those of them with a response, by day of decision."""
        raise NotImplementedError

    # what came of it

    def feedback(
        self,
        events: Sequence[Feedback],
        key: str | None = None,
        *,
        at_us: int,
        body_digest: str | None = None,
        windows_us: Mapping[str, int] | None = None,
    ) -> FeedbackAnswer:
        """Take each event that makes sense and name the others; ``at_us`` is now.

        Raises
        ------
        IdempotencyConflict
            ``key`` came in the last 24 h with another body.
        """
        raise NotImplementedError

    # live behaviour

    def events(self, events: Sequence[LiveEvent], *, at_us: int) -> EventsAnswer:
        """Queue live events, once per event id; ``at_us`` is now."""
        raise NotImplementedError

    def pending_events(self, after_seq: int | None = None, most: int = 1000) -> list[ReceivedEvent]:
        """The next events of the queue after ``after_seq``; None: after the last one refreshed."""
        raise NotImplementedError

    def mark_refreshed(self, seq: int, *, at_us: int) -> None:
        """Note that the online store knows every event up to ``seq``; a smaller one than before moves only the time."""
        raise NotImplementedError

    def undrained_events(
        self, user_ids: Collection[str] | None = None, after_seq: int = 0, most: int = 100_000
    ) -> list[ReceivedEvent]:
        """Live events that the event store does not hold yet, of these users or of all, in order of ``seq``."""
        raise NotImplementedError

    def mark_drained(self, seqs: Collection[int]) -> int:
        """Note that the event store holds these events; how many were news."""
        raise NotImplementedError

    # people

    def set_personalization(self, user_id: str, on: bool, at_us: int) -> None:
        """Rank with or without knowledge of the person from now on; the newest ``at_us`` wins."""
        raise NotImplementedError

    def set_consent(self, user_id: str, purpose: str, on: bool, at_us: int) -> None:
        """Note a consent given or withdrawn."""
        raise NotImplementedError

    def set_opted_out(self, user_id: str, channel: str | None, on: bool, at_us: int) -> None:
        """Note that a user is not to be approached on ``channel``, None: on any; or is again."""
        raise NotImplementedError

    def delete_tag(self, user_id: str, tag: str, at_us: int) -> None:
        """Note that ``tag`` is not to be used of this user any more."""
        raise NotImplementedError

    def resolve(self, namespace: str, id: str) -> str | None:
        """The user behind an identity of another system."""
        raise NotImplementedError

    def identify(self, rows: Iterable[tuple[str, str, str]]) -> int:
        """Write ``(namespace, id, user_id)`` rows, each replacing what was said of that identity; how many."""
        raise NotImplementedError

    def erase(self, user_id: str) -> int:
        """Remove a person: decisions, feedback, actions, live events, settings, identities; how many decisions.

        Counts over all users stay. Feedback on what is gone is then `UNKNOWN_DECISION`.
        """
        raise NotImplementedError

    # upkeep

    def maintain(self, at_us: int) -> None:
        """Move the write-ahead log into the database and forget what has expired; some process calls it every second.

        Gone are request ids and Idempotency-Keys after 2 days, and actions and drained events after 93 days.
        """
        raise NotImplementedError
