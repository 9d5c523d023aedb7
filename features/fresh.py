"""News of a few users, online within a moment: vector, profile and history of them alone, as a build would make them.

A refresh looks at all events of its users, the stored ones and those that came live since, at one instant ``as_of``.
The online store keeps whole seconds, so ``as_of`` is one: the first at or after the newest event and the clock. It may
lie up to a second ahead; the next refresh of the same second replaces the row. Rows never give way to older ones, be
it a publication or a refresh that runs at the same time.

What a user's vector takes from the whole shop (share of buyers, season) is of that instant too, for the users that are
refreshed; the others keep theirs until the next publication.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from configs import Config
from configs.errors import FeatureError
from features import online, periods, vectors
from features.by_user import ByUser
from features.catalog import NAMES, digest
from features.events import read_events
from features.few_users import FewUsers, Rows
from features.forgotten import listed
from features.live_events import Judge, LiveLine, lines_table

__all__ = ["Refreshed", "Refresher"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MANY = 5_000  # users of new batches above which the whole shop is looked at anew


@dataclass(frozen=True)
class Refreshed:
    """What was computed and how much of it was written: fewer rows where something newer was online already."""

    rows: tuple[Rows, ...]
    users: int
    rows_written: int
    seconds: float


class Refresher:
    """Computes and writes the online rows of a few users; keeps the live events it was given. One thread at a time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.by_user = ByUser(config)
        self.digest = digest()
        self.published = online.open_store(config.online_uri)
        self._judge = Judge()
        self._live: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)  # user_id, event_id: event
        self._few: FewUsers | None = None
        self._batches: frozenset[str] = frozenset()

    def prepare(self) -> None:
        """Do the long steps now: sort the events by user where needed, and look at the whole shop."""
        self._shop()

    def refresh(
        self, user_ids: Collection[str], extra: Sequence[LiveLine] = (), as_of: datetime | None = None
    ) -> Refreshed:
        """Compute the rows of these users, and of those of ``extra``, and write them into the online store.

        Parameters
        ----------
        extra
            Live events, kept for later calls; those that the rules of source ``live`` refuse count for nothing. One
            that is stored by now, or was given before, counts once.
        as_of
            A whole second, UTC; default: the first at or after the clock and each user's newest live event.

        Raises
        ------
        FeatureError
            When ``as_of`` is not a whole second.
        CatalogueMismatch
            When what is online was published from another catalogue.
        """
        started = time.monotonic()
        if as_of is not None and as_of.microsecond:
            raise FeatureError("a refresh stands at a whole second", got=as_of.isoformat(), expected="no fraction")
        users = sorted({*user_ids, *self._take(extra)})
        at_instants: dict[datetime, list[str]] = defaultdict(list)
        for user in users:
            at_instants[as_of or self._instant_of(user)].append(user)
        made = tuple(self.rows(own, at) for at, own in sorted(at_instants.items()))
        written = sum(self._write(rows) for rows in made)
        return Refreshed(made, sum(rows.user.num_rows for rows in made), written, time.monotonic() - started)

    def remember(self, extra: Sequence[LiveLine]) -> None:
        """Take live events into account that were refreshed before this process began."""
        users = self._take(extra)
        if users:
            self._merge(self._shop(), sorted(users))

    def forget(self) -> None:
        """Let go of the live events: the event store holds every one of them now."""
        now = periods.now(self.config)
        # Those ahead of the clock still say that a row of theirs lies ahead too.
        kept = {user: {i: e for i, e in own.items() if e["event_at"] > now} for user, own in self._live.items()}
        self._live = defaultdict(dict, {user: own for user, own in kept.items() if own})

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, extra: Sequence[LiveLine]) -> set[str]:
        users = set()
        if extra:
            for event in self._judge.events(extra, periods.now(self.config)).to_pylist():
                self._live[event["user_id"]].setdefault(event["event_id"], event)
                users.add(event["user_id"])
        return users

    def _instant_of(self, user: str) -> datetime:
        newest = max((event["event_at"] for event in self._live.get(user, {}).values()), default=EPOCH)
        at = max(periods.now(self.config), newest)
        return at.replace(microsecond=0) + (SECOND if at.microsecond else timedelta(0))

    def _load(self, few: FewUsers, users: Sequence[str]) -> None:
        live = [event for user in users for event in self._live.get(user, {}).values()]
        few.take(*self.by_user.select(users), pa.Table.from_pylist(live, lines_table([]).schema))

    # ── the shop ────────────────────────────────────────────────────────────────────────────────────────────────

    def _shop(self) -> FewUsers:
        """The state of the shop, brought up to the batches that are committed now."""
        files, batches = self.by_user.files(), self.by_user.batches()
        if self._few is not None and batches == self._batches:
            return self._few
        news = self._users_of(batches - self._batches)
        if self._few is None or not self._batches <= batches or len(news) > MANY:
            few = FewUsers(self.config) if self._few is None else self._few
            few.learn_shop(files)
            news = []
        few = self._few = few if self._few is None else self._few
        self._batches = batches
        every = sorted({*news, *self._live})
        for start in range(0, len(every), MANY):
            self._merge(few, every[start : start + MANY])
        return few

    def _users_of(self, batches: Collection[str]) -> list[str]:
        """Who has events in these batches, or more than `MANY` of them."""
        if self._few is None:
            return []
        files = [str(one.path) for one in self.by_user.ledger.files_of(sorted(batches))]
        if not files:
            return []
        few = self._few
        rows = few.sql.execute(
            "SELECT DISTINCT user_id FROM read_parquet(?, hive_partitioning = false) LIMIT ?", [files, MANY + 1]
        )
        return [row[0] for row in rows.fetchall()]

    def _merge(self, few: FewUsers, users: Sequence[str]) -> None:
        self._load(few, users)
        few.cut(EPOCH)
        few.merge_own()

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, users: Sequence[str], as_of: datetime) -> Rows:
        """The rows of these users at any instant; writes nothing."""
        few = self._shop()
        self._load(few, users)
        few.cut(as_of)
        few.merge_own()
        if few.newest_us <= (as_of - EPOCH) // timedelta(microseconds=1):
            return few.rows(as_of)
        every = [event for own in self._live.values() for event in own.values()]
        live = pa.Table.from_pylist(every, lines_table([]).schema)
        return few.rows(as_of, few.everything(read_events(few.backend, self.config), live))

    def _write(self, rows: Rows) -> int:
        at, made = int(rows.as_of.timestamp()), int(time.time())
        user = rows.user
        matrix = np.column_stack([user[name].to_numpy() for name in NAMES]).astype(np.float64)
        lists = [np.asarray(one, "<f8").tobytes() for one in rows.history["history"].to_pylist()]
        texts: list[Any] = rows.profile["profile"].to_pylist()
        content = (
            (online.VECTOR, user, vectors.pack(matrix, self.digest)),
            (online.PROFILE, rows.profile, [vectors.pack_text(text) for text in texts]),
            (online.HISTORY, rows.history, [vectors.pack_list(one) for one in lists]),
        )
        new: dict[online.Cell, list[online.Row]] = {}
        for cell, table, values in content:
            ids: list[Any] = table["user_id"].to_pylist()
            keys = vectors.entity_keys(ids)
            new[cell] = [(key, value, at, made) for key, value in zip(keys, values, strict=True)]
        named: list[Any] = user["user_id"].to_pylist()
        with self.published.publication() as writer:
            writer.claim(self.config.home)
            online.check_publication(writer, self.digest)
            for cell in new:
                writer.create(cell.view)
            # Whoever forgets waits for the right to write: from then on nothing of that person is written again.
            people = listed(self.config)
            gone = set(vectors.entity_keys([one for one in named if one in people])) if people.digests else set()
            kept = {cell: [row for row in rows if row[0] not in gone] for cell, rows in new.items()} if gone else new
            return sum(writer.write(kept).values())
