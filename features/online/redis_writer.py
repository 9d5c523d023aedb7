"""What a publication does in Redis, while it holds the lock: every step says whose it is, and a lost lock ends it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from configs.errors import FeatureError
from features.online import redis_scripts
from features.online.contract import Assorted, Cell, Row
from features.online.redis_scripts import (
    ASSORTMENT,
    EVERYBODY,
    LOCK,
    LOCK_SECONDS,
    OWNER,
    SUFFIX,
    VIEWS,
    field_of,
    stamp_of,
)

__all__ = ["RedisWriter"]

USERS = 200  # of one script: Redis answers nobody meanwhile, about a millisecond
SCRIPTS = 25  # on their way at once
NONE = (b"", b"", b"0")


class RedisWriter:
    """See `features.online.contract.Writer`."""

    def __init__(self, client: Any, token: str, address: str) -> None:
        self._client, self._token, self.address = client, token, address
        self._only: dict[Cell, bytes] = {}

    def claim(self, home: Path) -> None:
        """Whoever publishes first owns the database."""
        ours = _installation(home)
        self._client.eval(redis_scripts.NOTE, 2, LOCK, VIEWS, self._token, LOCK_SECONDS, OWNER, ours, "1")
        owner = self._client.hget(VIEWS, OWNER).decode()
        if owner != ours:
            raise FeatureError(
                f"{self.address} holds the features of another home",
                got=owner,
                expected=f"{ours}, the installation of {home}",
                because="a publication of one home takes away who is in no snapshot of it",
                run=f"USEROPS_ONLINE with another database; or, where this home replaces that, HDEL {VIEWS} {OWNER}",
            )

    def create(self, view: str) -> None:
        """The view is known from now on."""
        self._client.eval(redis_scripts.NOTE, 2, LOCK, VIEWS, self._token, LOCK_SECONDS, view, "", "1")

    def drop(self, view: str, features: Sequence[str]) -> None:
        """Its fields go from everybody."""
        self._sweep([(Cell(view, feature), b"", "") for feature in features])
        self._client.hdel(VIEWS, view)

    def only(self, cell: Cell, prefix: bytes) -> None:
        """They stay until they are replaced; whoever misses somebody meanwhile is told why."""
        self._only[cell] = prefix
        told = {**(self.last_publication(cell.view) or {}), "digest": "another one, which is being published"}
        text = json.dumps(told)
        self._client.eval(redis_scripts.NOTE, 2, LOCK, VIEWS, self._token, LOCK_SECONDS, cell.view, text, "")

    def write(self, rows: Mapping[Cell, Sequence[Row]]) -> dict[Cell, int]:
        """In scripts of `USERS` users, each with all that comes of him."""
        cells = list(rows)
        if not any(rows.values()):
            return dict.fromkeys(cells, 0)
        spec: list[Any] = [self._token, LOCK_SECONDS, len(cells)]
        for cell in cells:
            spec += [*field_of(cell), self._only.get(cell, b"")]
        written, pipe, waiting = [0] * len(cells), self._client.pipeline(transaction=False), 0
        for keys, values in _batches([rows[cell] for cell in cells]):
            pipe.execute_command("EVAL", redis_scripts.WRITE, 1 + len(keys), LOCK, *keys, *spec, *values)
            waiting += 1
            if waiting == SCRIPTS:
                written, waiting = _sum(written, pipe.execute()), 0
        if waiting:
            written = _sum(written, pipe.execute())
        return dict(zip(cells, written, strict=True))

    def forget(self, keys: Sequence[bytes]) -> int:
        """Delete their hashes, one by one."""
        gone = 0
        for key in keys:
            gone += int(self._client.eval(redis_scripts.FORGET, 2, LOCK, key + SUFFIX, self._token, LOCK_SECONDS))
        return gone

    def drop_older(self, than: Mapping[Cell, int]) -> None:
        """One walk over everybody for all cells."""
        self._sweep([(cell, self._only.get(cell, b""), str(event_ts)) for cell, event_ts in than.items()])

    def _sweep(self, cells: Sequence[tuple[Cell, bytes, str]]) -> None:
        spec: list[Any] = [self._token, LOCK_SECONDS, len(cells)]
        for cell, prefix, oldest in cells:
            spec += [*field_of(cell), prefix, oldest]
        cursor = -1
        while cursor:
            cursor, keys = self._client.scan(max(cursor, 0), match=EVERYBODY, count=4 * USERS)
            pipe = self._client.pipeline(transaction=False)
            for start in range(0, len(keys), USERS):
                part = keys[start : start + USERS]
                pipe.execute_command("EVAL", redis_scripts.SWEEP, 1 + len(part), LOCK, *part, *spec)
            pipe.execute()

    def record(self, view: str, digest: str, as_of: int, published_at: int, rows: int) -> None:
        """Note which catalogue's rows this publication wrote."""
        names = ("view", "digest", "as_of", "published_at", "rows_written")
        told = json.dumps(dict(zip(names, (view, digest, as_of, published_at, rows), strict=True)))
        self._client.eval(redis_scripts.NOTE, 2, LOCK, VIEWS, self._token, LOCK_SECONDS, view, told, "")

    def last_publication(self, view: str) -> dict[str, Any] | None:
        """What was recorded last about a view."""
        return redis_scripts.record_of(self._client.hget(VIEWS, view))

    def write_assortment(self, assorted: Assorted) -> bool:
        """Whether it was written; all of it at once."""
        before = self._client.hget(ASSORTMENT, "as_of")
        if before is not None and int(before) > assorted[1]:
            return False
        fields = [part for field in redis_scripts.packed(assorted).items() for part in field]
        self._client.eval(redis_scripts.REPLACE, 2, LOCK, ASSORTMENT, self._token, LOCK_SECONDS, *fields)
        return True


def _installation(home: Path) -> str:
    """A name of this home that goes with it where it is moved, made when it is first asked for."""
    path = home / "installation"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"installation.{os.getpid()}")
        own.write_text(uuid.uuid4().hex, encoding="ascii")
        with suppress(FileExistsError):
            os.link(own, path)  # whole, and never a second one
        own.unlink()
    return path.read_text(encoding="ascii").strip()


def _batches(rows: Sequence[Sequence[Row]]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Keys of Redis and what the script takes of each: three values per cell."""
    if len(rows) == 1:
        for start in range(0, len(rows[0]), USERS):
            part = rows[0][start : start + USERS]
            yield [row[0] + SUFFIX for row in part], [one for row in part for one in _three(row)]
        return
    users: list[tuple[bytes, list[Row | None]]] = []
    place: dict[bytes, list[Row | None]] = {}
    for cell, those in enumerate(rows):
        for row in those:
            own = place.get(row[0])
            if own is None or own[cell] is not None:
                own = place[row[0]] = [None] * len(rows)
                users.append((row[0], own))
            own[cell] = row
    for start in range(0, len(users), USERS):
        batch = users[start : start + USERS]
        values = [one for _, own in batch for row in own for one in (NONE if row is None else _three(row))]
        yield [key + SUFFIX for key, _ in batch], values


def _three(row: Row) -> tuple[bytes, bytes, bytes]:
    return row[1], stamp_of(row[2]), b"%d" % (row[3] or 0)


def _sum(written: list[int], replies: Sequence[Sequence[int]]) -> list[int]:
    return [sum(counts) for counts in zip(written, *replies, strict=True)]
