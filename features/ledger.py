"""The ledger of ingest: which files of events count, in SQLite; a batch exists when its rows here are committed.

A batch is written under ``events/staging/<batch>``, renamed file by file into ``events/data`` and
``events/quarantine``, and then entered here in one transaction. A reader asks the ledger which files to read, so it
sees a batch whole or not at all, whatever happens to the writer. The next writer sweeps up what a dead one left.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from configs import Config
from configs.errors import EventsError

__all__ = ["Batch", "Known", "Ledger", "StoredFile"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    batch_id TEXT PRIMARY KEY, source TEXT NOT NULL, identity TEXT NOT NULL, committed_at TEXT NOT NULL,
    read INTEGER NOT NULL, accepted INTEGER NOT NULL, quarantined INTEGER NOT NULL, duplicates INTEGER NOT NULL,
    by_rule TEXT NOT NULL, first_event_us INTEGER, last_event_us INTEGER, content TEXT NOT NULL,
    forgotten INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS inputs (
    batch_id TEXT NOT NULL, source TEXT NOT NULL, digest TEXT NOT NULL, sha256 TEXT NOT NULL, name TEXT NOT NULL,
    lines INTEGER NOT NULL, final INTEGER NOT NULL, forgotten INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, batch_id TEXT NOT NULL, event_date TEXT, bytes INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS inputs_by_digest ON inputs (source, digest, sha256);
"""
_FROM_1 = """
ALTER TABLE batches ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inputs ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
"""
_VERSION = 2
WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class StoredFile:
    """A committed Parquet file; ``event_date`` is None for a file of quarantine."""

    path: Path
    event_date: str | None
    bytes: int


@dataclass(frozen=True)
class Known:
    """An input that was read before: its lines, and whether reading it again would end in the same way.

    ``forgotten`` of the lines are of people who were forgotten.
    """

    sha256: str
    name: str
    lines: int
    final: bool
    forgotten: int = 0


@dataclass(frozen=True)
class Batch:
    """One committed ingest. ``content`` is an order-free digest of its events, as 32 hexadecimal digits.

    ``accepted + quarantined + duplicates + forgotten == read``, also after somebody was forgotten.
    """

    batch_id: str
    source: str
    identity: str
    read: int
    accepted: int
    quarantined: int
    duplicates: int
    by_rule: dict[str, int]
    first_event_us: int | None
    last_event_us: int | None
    content: str
    forgotten: int = 0


class Ledger:
    """The committed batches of one home."""

    def __init__(self, config: Config) -> None:
        self.folder = config.home / "events"
        self.path = self.folder / "ledger.db"
        self.data = self.folder / "data"
        self.quarantine = self.folder / "quarantine"
        self.staging = self.folder / "staging"

    def batches(self, source: str | None = None) -> list[Batch]:
        """The committed batches, oldest first."""
        if not self.path.exists():
            return []
        query = "SELECT * FROM batches WHERE ?1 IS NULL OR source = ?1 ORDER BY rowid"
        with self._connection() as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute(query, (source,))]
        for row in rows:
            row["by_rule"] = json.loads(row["by_rule"])
            del row["committed_at"]
        return [Batch(**row) for row in rows]

    def event_files(
        self, first_date: str = "", last_date: str = "9999-99-99", without: str | None = None
    ) -> list[StoredFile]:
        """The committed files with events of the dates ``[first_date, last_date]``, of all sources but ``without``."""
        return self._files("event_date BETWEEN ? AND ?", (first_date, last_date), without)

    def files_of(self, batch_ids: Sequence[str]) -> list[StoredFile]:
        """The committed files with events of these batches."""
        named = ", ".join("?" * len(batch_ids))
        return self._files(f"event_date IS NOT NULL AND batch_id IN ({named})", tuple(batch_ids), None)

    def quarantine_files(self, without: str | None = None) -> list[StoredFile]:
        """The committed files with refused lines, of all sources but ``without``."""
        return self._files("event_date IS NULL", (), without)

    def owners(self) -> dict[Path, str]:
        """The batch of every committed file."""
        if not self.path.exists():
            return {}
        with self._connection() as connection:
            return {self.folder / path: one for path, one in connection.execute("SELECT path, batch_id FROM files")}

    def known_inputs(self, source: str, digest: str) -> dict[str, Known]:
        """By SHA-256, the inputs that this source has read with the very same mapping."""
        if not self.path.exists():
            return {}
        query = (
            "SELECT sha256, name, lines, final, forgotten FROM inputs WHERE source = ? AND digest = ? ORDER BY rowid"
        )
        with self._connection() as connection:
            rows = connection.execute(query, (source, digest)).fetchall()
        return {row[0]: Known(row[0], row[1], row[2], bool(row[3]), row[4]) for row in rows}

    @contextmanager
    def lock(self, progress: Callable[[str, float], None] | None = None) -> Iterator[None]:
        """One writer at a time: wait for the other one, at most ten minutes. A dead writer holds nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "ledger.lock").open("a+") as stream:
            end = time.monotonic() + WAIT_SECONDS
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    stream.seek(0)
                    holder = stream.read().strip() or "unknown"
                    if time.monotonic() > end:
                        raise EventsError(
                            f"another ingest holds {self.folder}", got=f"process {holder}", run=f"ps -p {holder}"
                        ) from None
                    if progress:
                        progress(f"waiting for process {holder}, which is ingesting", 0.0)
                    time.sleep(0.2)
            stream.seek(0)
            stream.truncate()
            stream.write(str(os.getpid()))
            stream.flush()
            yield

    def sweep(self) -> None:
        """Remove what an ingest that died left behind; call it while holding the lock."""
        shutil.rmtree(self.staging, ignore_errors=True)
        committed = {stored.path for stored in [*self.event_files(), *self.quarantine_files()]}
        for path in [*self.data.glob("*/*.parquet"), *self.quarantine.glob("*.parquet")]:
            if path not in committed:
                path.unlink()
                if path.parent != self.quarantine and not any(path.parent.iterdir()):
                    path.parent.rmdir()

    def commit(self, batch: Batch, inputs: list[Known], digest: str, staged: Path, replace: bool) -> None:
        """Move the staged files to their places and enter the batch; with ``replace`` the source's older ones go."""
        entries = [*self._move(staged / "data", self.data), *self._move(staged / "quarantine", self.quarantine)]
        row = (
            *(batch.batch_id, batch.source, batch.identity, datetime.now(UTC).isoformat(), batch.read, batch.accepted),
            *(batch.quarantined, batch.duplicates, json.dumps(batch.by_rule), batch.first_event_us),
            *(batch.last_event_us, batch.content, batch.forgotten),
        )
        with self._connection() as connection, connection:
            if replace:
                older = "(SELECT batch_id FROM batches WHERE source = ?)"
                for table in ("files", "inputs", "batches"):
                    connection.execute(f"DELETE FROM {table} WHERE batch_id IN {older}", (batch.source,))
            connection.execute(f"INSERT INTO batches VALUES ({', '.join('?' * 13)})", row)
            connection.executemany(
                "INSERT INTO inputs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (batch.batch_id, batch.source, digest, k.sha256, k.name, k.lines, int(k.final), k.forgotten)
                    for k in inputs
                ],
            )
            connection.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?)",
                [(str(e.path.relative_to(self.folder)), batch.batch_id, e.event_date, e.bytes) for e in entries],
            )

    def rewrite(self, changed: Sequence[Batch], files: Sequence[tuple[StoredFile, StoredFile | None]]) -> None:
        """Put files with fewer rows, or none, in the place of files, and batches with other counts under a new id each.

        The new files lie in their places already. Every input is to be read again: lines of it may be of somebody
        forgotten. One transaction; afterwards nobody reads the old files.
        """
        if not self.path.exists():
            return
        renamed = {batch.batch_id: _again(batch.batch_id) for batch in changed}
        with self._connection() as connection, connection:
            owner = dict(connection.execute("SELECT path, batch_id FROM files").fetchall())
            for old, new in files:
                path = str(old.path.relative_to(self.folder))
                connection.execute("DELETE FROM files WHERE path = ?", (path,))
                if new is not None:
                    values = str(new.path.relative_to(self.folder)), owner[path], new.event_date, new.bytes
                    connection.execute("INSERT INTO files VALUES (?, ?, ?, ?)", values)
            for batch in changed:
                connection.execute(
                    "UPDATE batches SET accepted = ?, quarantined = ?, forgotten = ?, by_rule = ?, first_event_us = ?, "
                    "last_event_us = ?, content = ? WHERE batch_id = ?",
                    (
                        *(batch.accepted, batch.quarantined, batch.forgotten, json.dumps(batch.by_rule)),
                        *(batch.first_event_us, batch.last_event_us, batch.content, batch.batch_id),
                    ),
                )
                for table in ("batches", "inputs", "files"):
                    connection.execute(
                        f"UPDATE {table} SET batch_id = ? WHERE batch_id = ?", (renamed[batch.batch_id], batch.batch_id)
                    )
            connection.execute("UPDATE inputs SET final = 0")

    def _move(self, staged: Path, target: Path) -> list[StoredFile]:
        """Rename what was staged into place: whole folders of dates that are new, file by file into the others."""
        entries = []
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(staged.iterdir()) if staged.exists() else ():
            place = target / path.name
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            date = path.name.removeprefix("event_date=") if path.is_dir() else None
            for file in files:
                size = file.stat().st_size
                entries.append(StoredFile(place / file.name if path.is_dir() else place, date, size))
            if path.is_dir() and place.exists():
                for file in files:
                    os.rename(file, place / file.name)
            else:
                os.rename(path, place)
        return entries

    def _files(self, where: str, values: tuple[str, ...], without: str | None) -> list[StoredFile]:
        if not self.path.exists():
            return []
        query = (
            f"SELECT path, event_date, bytes FROM files JOIN batches USING (batch_id) WHERE {where} "
            "AND source IS NOT ? ORDER BY event_date, path"
        )
        with self._connection() as connection:
            rows = connection.execute(query, (*values, without)).fetchall()
        return [StoredFile(self.folder / path, event_date, size) for path, event_date, size in rows]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")
            elif version == 1:
                _move_from_1(connection)
            elif version != _VERSION:
                raise EventsError(f"{self.path} is of another version", got=version, expected=_VERSION)
            yield connection


def _again(batch_id: str) -> str:
    """Another id of a batch whose events are not the same any more: nobody takes a copy of the old ones for it."""
    name, _, times = batch_id.partition(".")
    return f"{name}.{int(times or 0) + 1}"


def _move_from_1(connection: sqlite3.Connection) -> None:
    """Of several processes that meet the old version, the first moves it."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 1:
        for statement in _FROM_1.split(";"):
            connection.execute(statement)  # executescript would commit before
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.commit()
