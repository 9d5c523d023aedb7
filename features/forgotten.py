"""Who was forgotten in this home: salted digests of ids, so that nobody comes back whom the list cannot name.

``forgotten.json`` is written by `userops forget` alone; ingest, builds and refreshes read it. Its salt is drawn once:
the digests of one home tell nothing in another, and an id is found only by whoever has the id already.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import duckdb

from configs import Config
from configs.errors import FeatureError
from features.inputs import literal

__all__ = ["Forgotten", "Named", "add", "holding", "leave_out", "lift", "listed", "place", "with_list"]

FILE = "forgotten.json"


@dataclass(frozen=True)
class Forgotten:
    """The list: ``digests`` maps the digest of each id to when it was forgotten, an ISO instant."""

    salt: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    def digest(self, user_id: str) -> str:
        """How the list writes an id: 64 hexadecimal digits.

        Examples
        --------
        >>> Forgotten("00").digest("u1")[:16]
        '5f1a039b2c9e9e7e'
        """
        return hashlib.sha256(f"{self.salt}{user_id}".encode()).hexdigest()

    def __contains__(self, user_id: object) -> bool:
        return bool(self.digests) and self.digest(str(user_id)) in self.digests

    @property
    def values(self) -> list[str]:
        """What `with_list` lets a session know."""
        return list(self.digests)

    def sql(self, text: str) -> str:
        """Whether a text is the id of somebody forgotten, for DuckDB; false for NULL. See `with_list`."""
        digest = f"sha256({literal(self.salt)} || {text})"
        return f"coalesce({digest} IN (SELECT unnest(getvariable('forgotten'))), false)"

    def sql_naming(self, raw: str) -> str:
        """Whether a line of quarantine, as JSON, holds such an id, for DuckDB."""
        digests = f"list_transform({tokens(raw)}, lambda one: sha256({literal(self.salt)} || one))"
        return f"coalesce(list_has_any({digests}, getvariable('forgotten')), false)"


@dataclass(frozen=True)
class Named:
    """People by their ids, as the same questions ask for them."""

    user_ids: tuple[str, ...]

    @property
    def values(self) -> list[str]:
        """What `with_list` lets a session know."""
        return list(self.user_ids)

    def sql(self, text: str) -> str:
        """Whether a text is one of the ids, for DuckDB; false for NULL."""
        return f"coalesce({text} IN (SELECT unnest(getvariable('forgotten'))), false)"

    def sql_naming(self, raw: str) -> str:
        """Whether a line of quarantine, as JSON, holds one of the ids, for DuckDB."""
        return f"coalesce(list_has_any({tokens(raw)}, getvariable('forgotten')), false)"


def tokens(raw: str) -> str:
    """Everything in a line of quarantine that may be an id, for DuckDB: its values, and the words of them."""
    splits = (f"regexp_split_to_array(v, {literal(pattern)})" for pattern in _BETWEEN)
    parts = f"list_concat([trim(v), regexp_replace(trim(v), '\\.0$', '')], {', '.join(splits)})"
    return f"flatten(list_transform(json_extract_string({raw}, '$.*'), lambda v: {parts}))"


# What stands between the words of a line that is no record: its delimiter is one of these, or nobody knows it.
_BETWEEN = (r"[,;|\t\" ]+", r"[^\p{L}\p{N}_.@:-]+", r"[^\p{L}\p{N}_]+")


def listed(config: Config) -> Forgotten:
    """The list of this home as it stands now; empty before the first `userops forget`."""
    return _listed(config.home)


def _listed(home: Path) -> Forgotten:
    path = home / FILE
    try:
        about = path.stat()
    except FileNotFoundError:
        return Forgotten()
    return _read(path, (about.st_mtime_ns, about.st_size, about.st_ino))


@lru_cache(maxsize=8)
def _read(path: Path, _seen: tuple[int, int, int]) -> Forgotten:
    try:
        content = json.loads(path.read_bytes())
        return Forgotten(str(content["salt"]), dict(content["digests"]))
    except (OSError, ValueError, TypeError, KeyError):
        raise FeatureError(
            f"{path} is no list of who was forgotten",
            expected="what userops forget wrote",
            because="without it people would come back whom nobody may know any more",
            run=f"restore {path} from a backup",
        ) from None


def add(config: Config, user_ids: Iterable[str]) -> Forgotten:
    """Put these on the list, durably; return it. Whoever is on it keeps the instant of before."""
    config.home.mkdir(parents=True, exist_ok=True)
    with _lock(config.home, fcntl.LOCK_EX):
        before = listed(config)
        salt = before.salt or secrets.token_hex(32)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        new = Forgotten(salt)
        digests = {new.digest(one): now for one in user_ids} | dict(before.digests)
        if len(digests) > len(before.digests):
            _write(config.home / FILE, {"salt": salt, "digests": digests})
        return Forgotten(salt, digests)


def lift(config: Config, user_ids: Iterable[str]) -> int:
    """Take these off the list, for people who came back; how many of them were on it."""
    with _lock(config.home, fcntl.LOCK_EX):
        before = listed(config)
        gone = {before.digest(one) for one in user_ids} & before.digests.keys()
        if gone:
            kept = {one: at for one, at in before.digests.items() if one not in gone}
            _write(config.home / FILE, {"salt": before.salt, "digests": kept})
        return len(gone)


def _write(path: Path, content: object) -> None:
    number, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for its owner alone
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@contextmanager
def holding(home: Path, alone: bool = False) -> Iterator[Forgotten]:
    """The list as it stays within: whoever renames a file into its place without these people does it here.

    ``alone``: nobody else is within, so a file can be read and written again without whoever comes in between.

    Whoever forgets takes a person out of the files that are in their places once the list has its new entry: between
    the look at the list and the rename it cannot get one.
    """
    with _lock(home, fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
        yield _listed(home)


@contextmanager
def _lock(home: Path, kind: int) -> Iterator[None]:
    with (home / f"{FILE}.lock").open("a") as stream:
        fcntl.flock(stream, kind)
        yield


def with_list(connection: duckdb.DuckDBPyConnection, those: Forgotten | Named) -> None:
    """Let the session know whom the conditions of ``those`` ask for."""
    connection.execute("SET VARIABLE forgotten = ?", [those.values])


def place(config: Config, draft: Path, target: Path, began: Forgotten) -> None:
    """Rename a finished table of users into its place, without whoever was forgotten since the list was ``began``."""
    with holding(config.home) as now:
        if now.digests.keys() - began.digests.keys():
            leave_out(config, draft, now)
        os.replace(draft, target)


def leave_out(config: Config, path: Path, those: Forgotten | Named) -> int:
    """Rewrite a Parquet file without the rows of these users, in place, if it has any; how many they were.

    Order, metadata and size of the row groups stay. Whoever reads it sees the old file or the new one.
    """
    import pyarrow.parquet as pq

    if path.is_dir():  # a table in parts
        return sum(leave_out(config, part, those) for part in sorted(path.rglob("[!._]*.parquet")))
    about = pq.read_metadata(path)
    group = about.row_group(0).num_rows if about.num_row_groups > 1 else _GROUP
    kept = {key.decode(): value.decode() for key, value in (about.metadata or {}).items()}
    kept.pop("ARROW:schema", None)
    metadata = ", ".join(f"{literal(key)}: {literal(value)}" for key, value in kept.items())
    draft = config.home / "tmp" / f"without-{secrets.token_hex(6)}.parquet"  # where an interrupted one is swept
    draft.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"threads": config.threads, "memory_limit": config.memory_limit}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        with_list(connection, those)
        scan = f"read_parquet({literal(path)}, hive_partitioning = false)"
        count = connection.execute(f"SELECT count(*) FROM {scan} WHERE {those.sql('user_id')}").fetchall()[0][0]
        if not count:
            return 0
        try:
            connection.execute(
                f"COPY (SELECT * FROM {scan} WHERE NOT {those.sql('user_id')}) TO {literal(draft)} (FORMAT parquet, "
                f"COMPRESSION zstd, WRITE_BLOOM_FILTER false, DICTIONARY_SIZE_LIMIT 5000, ROW_GROUP_SIZE {group}"
                f"{f', KV_METADATA {{{metadata}}}' if metadata else ''})"
            )
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    return int(count)


_GROUP = 122_880  # rows; what DuckDB itself writes
