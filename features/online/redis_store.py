"""A Redis as online store, in Feast's own format: one hash per user, so one command reads all that is known of him.

The key is Feast's entity key followed by the project; of each feature there is a field, the murmur hash of
``view:feature``, and of each view ``_ts:view``, a protobuf Timestamp. Ours besides: ``_made:view`` (created_ts), and
four keys that begin with ``userops:``. Users are written in scripts, of which Redis runs one at a time: one user, or a
few hundred, change at once. No key expires: a publication takes away who is gone, and how old a vector may be is judged
by whoever reads it; an expired one would make a customer a stranger, without a word.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from configs.errors import FeatureError
from features.online import contract, redis_scripts
from features.online.contract import Assorted, Cell, Found, being_written, nothing
from features.online.redis_scripts import ASSORTMENT, BEFORE, LOCK, LOCK_SECONDS, SUFFIX, VIEWS
from features.online.redis_writer import RedisWriter

__all__ = ["RedisStore"]

ANSWER_SECONDS, CONNECT_SECONDS = 0.5, 0.5  # of a read: an answer is due long before
WRITE_SECONDS = 30.0
PAUSE_SECONDS = 1.0  # how long nobody asks a Redis that did not answer: requests must not queue up behind it
AT_ONCE = 500  # users of one round
SAMPLE = 2_000
CONNECTIONS = 64
WALK = 100  # steps of SAMPLE keys each: a tenth of a second

T = TypeVar("T")


class RedisStore:
    """See `features.online.contract.OnlineStore`; a pool of connections, made when they are needed."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.address = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}/{parts.path.strip('/') or 0}"
        self._reading = _client(uri, ANSWER_SECONDS)
        self._writing = _client(uri, WRITE_SECONDS)
        self._asked_again_at = 0.0
        self._failure = "", ""

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, keys: Sequence[bytes], cells: Sequence[Cell]) -> list[tuple[Found, ...]]:
        """One command per user, in rounds of `AT_ONCE` users."""
        found: list[tuple[Found, ...]] = []
        for start in range(0, len(keys), AT_ONCE):
            found += self._read([key + SUFFIX for key in keys[start : start + AT_ONCE]], tuple(cells))
        if not all(any(row) for row in found):
            self._check_published(cells[0].view)
        return found

    def _read(self, keys: Sequence[bytes], cells: tuple[Cell, ...]) -> list[tuple[Found, ...]]:
        rows = self._ask(_rows, self._reading, keys, redis_scripts.fields(cells))
        return [tuple(map(self._found, row[::2], row[1::2])) for row in rows]

    def _found(self, value: bytes | None, stamp: bytes | None) -> Found:
        if value is None:
            return None
        try:
            return value, redis_scripts.seconds_of(stamp)
        except ValueError:
            raise FeatureError(
                "the online store holds a value that no publication wrote",
                got="no instant beside it" if stamp is None else "an instant beside it that is none",
                because="another program writes into this database",
                run="userops features publish",
            ) from None

    def _check_published(self, view: str) -> None:
        if not self._ask(self._reading.hexists, VIEWS, view):
            raise nothing(self.address, f"no view {view}")

    def scan(self, cells: Sequence[Cell], size: int) -> Iterator[list[tuple[bytes, tuple[Found, ...]]]]:
        """In the order of Redis, which gives some keys twice while it grows."""
        seen = set[bytes]()
        self._check_published(cells[0].view)
        for keys in self._keys(size):
            new = [key for key in dict.fromkeys(keys) if key not in seen]
            seen.update(new)
            rows = zip(new, self._read(new, tuple(cells)), strict=True)
            if part := [(key[: -len(SUFFIX)], row) for key, row in rows if row[0] is not None]:
                yield part

    def _keys(self, size: int) -> Iterator[list[bytes]]:
        """All users' keys, some twice."""
        cursor = 0
        while True:
            cursor, keys = self._ask(self._reading.scan, cursor, redis_scripts.EVERYBODY, size)
            if keys:
                yield keys
            if cursor == 0:
                return

    def beginning(self, cell: Cell, start: bytes, most: int) -> list[bytes]:
        """Of the users that the first steps over the keys meet, `WALK` at most, and who has just this id."""
        before, found, cursor = len(BEFORE), set[bytes](), 0
        self._check_published(cell.view)
        pattern = BEFORE + b"????" + re.sub(rb"([\\*?\[\]])", rb"\\\1", start) + b"*" + SUFFIX
        whole = BEFORE + len(start).to_bytes(4, "little") + start
        if self.read([whole], (cell,))[0][0] is not None:
            found.add(start)
        for _ in range(WALK):
            cursor, keys = self._ask(self._reading.scan, cursor, pattern, SAMPLE)
            found |= {key[before + 4 : -len(SUFFIX)] for key in keys}
            if cursor == 0 or len(found) >= most:
                break
        return sorted(found, key=lambda one: (len(one), one))[:most]

    def middle(self, cell: Cell) -> int | None:
        """The median of some users, as Redis's hashing shuffles them."""
        instants: list[int] = []
        for part in self.scan((cell,), SAMPLE):
            instants += [row[0][1] for _, row in part if row[0] is not None]
            if len(instants) >= SAMPLE:
                break
        return sorted(instants)[len(instants) // 2] if instants else None

    def last_publication(self, view: str) -> dict[str, Any] | None:
        """What was recorded last about a view."""
        return redis_scripts.record_of(self._ask(self._reading.hget, VIEWS, view))

    def assortment_stamp(self) -> str | None:
        """One field."""
        stamp = self._ask(self._reading.hget, ASSORTMENT, "stamp")
        return None if stamp is None else stamp.decode()

    def assortment(self) -> Assorted:
        """One hash, read by one command."""
        found = self._ask(self._reading.hgetall, ASSORTMENT)
        if not found:
            raise nothing(self.address, "no assortment")
        try:
            return redis_scripts.assorted_of(found)
        except (KeyError, TypeError, ValueError):
            got, run = "something else", "userops features publish"
            raise FeatureError(f"{self.address} holds no assortment of ours", got=got, run=run) from None

    def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """The answer; after a failure, for a moment, the failure itself."""
        if time.monotonic() < self._asked_again_at:
            raise self._unreachable(*self._failure)
        try:
            return question(*arguments)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._failure = str(error), _why(error)
            self._asked_again_at = time.monotonic() + PAUSE_SECONDS
            raise self._unreachable(*self._failure) from None
        except redis.RedisError as error:
            raise self._unreachable(str(error), _why(error)) from None

    def _unreachable(self, got: str, because: str) -> FeatureError:
        return FeatureError("the online store cannot be read", got=f"{self.address}: {got}", because=because)

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def publication(self) -> Iterator[RedisWriter]:
        """The lock of the store; it ends with the block, or a while after the death of its holder."""
        token = uuid.uuid4().hex
        try:
            self._lock(token)
            try:
                yield RedisWriter(self._writing, token, self.address)
            finally:
                with suppress(redis.RedisError):  # it runs out
                    self._writing.eval(redis_scripts.FREE, 1, LOCK, token)
        except redis.RedisError as error:
            if redis_scripts.LOST in str(error):
                raise being_written(self.address, str(error)) from None
            raise FeatureError(
                f"{self.address} cannot be written",
                got=str(error),
                because=_why(error),
                run="it again",
            ) from None

    def _lock(self, token: str) -> None:
        until = time.monotonic() + contract.WAIT_SECONDS
        while not self._writing.eval(redis_scripts.TAKE, 1, LOCK, token, LOCK_SECONDS):
            if time.monotonic() >= until:
                raise being_written(self.address, "its lock is held")
            time.sleep(0.02)

    def erase(self) -> None:
        """Delete every user, and what we note besides."""
        for keys in self._keys(AT_ONCE):
            self._writing.unlink(*keys)
        self._writing.unlink(VIEWS, ASSORTMENT)

    def close(self) -> None:
        """Let go of the connections of all threads."""
        self._reading.close()
        self._writing.close()


def _client(uri: str, seconds: float) -> Any:
    # One more try at once: after a restart of Redis the connections of the pool are dead.
    return redis.Redis.from_url(
        uri,
        socket_timeout=seconds,
        socket_connect_timeout=CONNECT_SECONDS,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        max_connections=CONNECTIONS,
        health_check_interval=0,
    )


def _why(error: redis.RedisError) -> str:
    """The likely cause of what Redis, or the way to it, says."""
    if isinstance(
        error, redis.AuthenticationError | redis.exceptions.AuthorizationError | redis.exceptions.NoPermissionError
    ):
        return "USEROPS_ONLINE has another user or password than the server, or none"
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return "Redis is full: maxmemory is reached"
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return "Redis is down, does not listen there, or speaks TLS where we do not (rediss://), or the other way round"
    return "USEROPS_ONLINE names a database that the server has not, or that is another program's, or a replica"


def _rows(client: Any, keys: Sequence[bytes], fields: Sequence[bytes]) -> list[list[bytes | None]]:
    if len(keys) == 1:
        return [client.execute_command("HMGET", keys[0], *fields)]
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.execute_command("HMGET", key, *fields)
    rows: list[list[bytes | None]] = pipe.execute()
    return rows
