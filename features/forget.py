"""Taking people out of the event store: every row of theirs, refused lines that name them, what is known of them.

The list has them first, so that no ingest brings them back; then files without their rows come into the places of those
with them, in one transaction of the ledger. Killed anywhere, the same call finishes; called again, it finds nothing.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from configs import Config
from features import forgotten, online, vectors
from features.engine import connect
from features.events import COLUMNS
from features.forgotten import Named
from features.inputs import literal
from features.ledger import Batch, Ledger, StoredFile
from features.snapshots import BY_PEOPLE

__all__ = ["FromEvents", "forget_events", "forget_online", "forget_snapshots", "lift", "sweep_scratch"]

Progress = Callable[[str, float], None]
SCRATCH = ("tmp/*", "features/*/.*", "backtests/.*", "desk/*/*/.part.*")  # what is written before it is renamed
SCRATCH_SECONDS = 24 * 3600.0  # an interrupted build leaves its tiles; no build takes that long


@dataclass(frozen=True)
class FromEvents:
    """What was taken out: rows of events in how many ``files``, refused lines, rows of attributes.

    ``first_event_us`` is the instant of their first event, None when there was none.
    """

    events: int
    files: int
    quarantined: int
    attributes: int
    first_event_us: int | None


def forget_events(config: Config, user_ids: Sequence[str], show: Progress) -> FromEvents:
    """Put the users on the list of this home, and take them out of the event store, while nobody ingests."""
    ledger, those = Ledger(config), Named(tuple(user_ids))
    with ledger.lock(show):
        if any(one not in forgotten.listed(config) for one in user_ids):
            ledger.rewrite([], [])  # an input may hold lines of theirs where the store has no event of them
        forgotten.add(config, user_ids)
        ledger.sweep()  # also what an ingest or a forgetting that died left behind
        backend = connect(config)
        try:
            connection: duckdb.DuckDBPyConnection = backend.con
            forgotten.with_list(connection, those)
            found = _take_out(connection, ledger, those, show)
        finally:
            backend.disconnect()
        ledger.sweep()
        for copy in (*ledger.folder.glob("by_user.parquet"), *ledger.folder.glob(".by_user.parquet.*")):
            if found.events or _names(config, copy, those):
                copy.unlink(missing_ok=True)  # a copy, which is made anew
        attributes = 0
        for table in ledger.folder.glob("entities/users.parquet"):
            attributes += forgotten.leave_out(config, table, those)
    return replace(found, attributes=attributes)


def lift(config: Config, user_ids: Sequence[str], show: Progress) -> int:
    """Let ingest take lines of these users again, also of files that were read before; how many were on the list."""
    ledger = Ledger(config)
    with ledger.lock(show):
        ledger.rewrite([], [])
        return forgotten.lift(config, user_ids)


def forget_snapshots(config: Config, user_ids: Sequence[str], show: Progress) -> dict[str, int]:
    """Take the users out of every snapshot of the tables that have a row per person; rows taken out, by table.

    The files go on naming the events that they were made from, so the next build that needs them makes them anew.
    """
    those, taken = Named(tuple(user_ids)), dict.fromkeys(BY_PEOPLE, 0)
    files = [(table, path) for table in BY_PEOPLE for path in (config.home / "features" / table).glob("*.parquet")]
    for number, (table, path) in enumerate(sorted(files)):
        show(f"{table} {path.stem}", number / len(files))
        taken[table] += forgotten.leave_out(config, path, those)
    return taken


def sweep_scratch(config: Config) -> int:
    """Remove what interrupted builds, trainings and forgettings left a day ago or longer; how much is there still."""
    import shutil

    left = 0
    for path in [path for pattern in SCRATCH for path in config.home.glob(pattern)]:
        try:
            written_at = path.lstat().st_mtime
        except FileNotFoundError:  # finished meanwhile
            continue
        if time.time() - written_at < SCRATCH_SECONDS:
            left += 1
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return left


def _names(config: Config, copy: Path, those: Named) -> bool:
    try:
        with duckdb.connect(config={"threads": config.threads}) as connection:
            forgotten.with_list(connection, those)
            scan = f"FROM read_parquet({literal(copy)}) WHERE {those.sql('user_id')} LIMIT 1"
            return bool(connection.execute(f"SELECT 1 {scan}").fetchall())
    except duckdb.Error:
        return True  # what cannot be read may hold anybody


def _take_out(connection: duckdb.DuckDBPyConnection, ledger: Ledger, those: Named, show: Progress) -> FromEvents:
    """The rows in files that count, and the counts of their batches."""
    show("looking through the events", 0.0)
    files = {str(one.path): one for one in [*ledger.event_files(), *ledger.quarantine_files()]}
    kinds = ((those.sql("user_id"), True), (those.sql_naming("raw"), False))
    touched = [found for theirs, dated in kinds for found in _touched(connection, files, theirs, dated)]
    if not touched:
        return FromEvents(0, 0, 0, 0, None)
    owner = ledger.owners()
    before = {batch.batch_id: batch for batch in ledger.batches()}
    events, quarantined = Counter[str](), Counter[str]()
    rules: dict[str, Counter[str]] = {}
    swapped, first = list[tuple[StoredFile, StoredFile | None]](), list[int]()
    scratch = ledger.staging / f"forget-{secrets.token_hex(6)}"
    scratch.mkdir(parents=True)
    for number, (old, theirs, count, first_us) in enumerate(touched):
        show("writing what stays", 0.1 + 0.7 * number / len(touched))
        its = owner[old.path]
        if old.event_date is None:
            quarantined[its] += count
            rows = connection.execute(
                f"SELECT rule, count(*) FROM read_parquet(?) WHERE {theirs} GROUP BY rule", [str(old.path)]
            ).fetchall()
            rules.setdefault(its, Counter()).update(dict(rows))
        else:
            events[its] += count
            first.append(first_us)
        swapped.append((old, _rest(connection, old, theirs, scratch)))
    kept: dict[str, list[Path]] = {}
    new_of = {old.path: new for old, new in swapped}
    for stored in ledger.event_files():
        new = new_of.get(stored.path, stored)
        if new is not None and owner[stored.path] in events:
            kept.setdefault(owner[stored.path], []).append(new.path)
    changed = []
    for name in sorted({*events, *quarantined}):
        show("counting what stays", 0.8)
        batch = before[name]
        if events[name]:
            old_files = [str(path) for path, one in owner.items() if one == name and files[str(path)].event_date]
            batch = _recounted(connection, batch, old_files, [str(path) for path in kept.get(name, [])])
        by_rule = {rule: n - rules.get(name, Counter())[rule] for rule, n in batch.by_rule.items()}
        changed.append(
            replace(
                batch,
                quarantined=batch.quarantined - quarantined[name],
                by_rule={rule: n for rule, n in by_rule.items() if n > 0},
                forgotten=batch.forgotten + events[name] + quarantined[name],
            )
        )
    show("committing", 0.95)
    ledger.rewrite(changed, swapped)
    return FromEvents(sum(events.values()), len(swapped), sum(quarantined.values()), 0, min(first, default=None))


def _touched(
    connection: duckdb.DuckDBPyConnection, files: dict[str, StoredFile], theirs: str, dated: bool
) -> list[tuple[StoredFile, str, int, int]]:
    """The files with rows of theirs: condition, how many rows, and the first instant where they have one."""
    asked = [path for path, stored in files.items() if (stored.event_date is not None) == dated]
    if not asked:
        return []
    first = "epoch_us(min(event_at))" if dated else "0"
    rows = connection.execute(
        f"SELECT filename, count(*), {first} FROM read_parquet(?, filename = true, hive_partitioning = false) "
        f"WHERE {theirs} GROUP BY filename ORDER BY filename",
        [asked],
    ).fetchall()
    return [(files[path], theirs, count, at) for path, count, at in rows]


def _rest(connection: duckdb.DuckDBPyConnection, old: StoredFile, theirs: str, scratch: Path) -> StoredFile | None:
    """The file without their rows, beside the old one; None when nothing would be left."""
    scan = f"FROM read_parquet({literal(old.path)}, hive_partitioning = false) WHERE NOT {theirs}"
    if not connection.execute(f"SELECT 1 {scan} LIMIT 1").fetchall():
        return None
    draft = scratch / old.path.name
    connection.execute(f"COPY (SELECT * {scan}) TO {literal(draft)} (FORMAT parquet, COMPRESSION zstd)")
    path = old.path.with_name(f"{old.path.name.split('.')[0]}.{secrets.token_hex(4)}.parquet")
    size = draft.stat().st_size
    os.rename(draft, path)
    return StoredFile(path, old.event_date, size)


def _recounted(connection: duckdb.DuckDBPyConnection, batch: Batch, before: list[str], now: list[str]) -> Batch:
    """Count, span and digest of the events that stay; the digest is the one that `features.staging` would give."""
    by_id, whole = _digest_of(["event_id"]), _digest_of([name for name in COLUMNS if name != "ingested_at"])
    scan = "read_parquet(?, hive_partitioning = false)"
    told = connection.execute(f"SELECT {by_id} FROM {scan}", [before]).fetchall()[0][0]
    if not now:
        return replace(batch, accepted=0, first_event_us=None, last_event_us=None, content="0" * 32)
    digest = by_id if told == batch.content else whole
    row = connection.execute(
        f"SELECT count(*), epoch_us(min(event_at)), epoch_us(max(event_at)), {digest} FROM {scan}", [now]
    ).fetchall()[0]
    return replace(batch, accepted=row[0], first_event_us=row[1], last_event_us=row[2], content=row[3])


def _digest_of(columns: Sequence[str]) -> str:
    texts = [f"epoch_us({name})" if COLUMNS[name].startswith("timestamp") else name for name in columns]
    return f"printf('%032x', bit_xor(md5_number(concat_ws('|', {', '.join(texts)}))))"


def forget_online(config: Config, user_ids: Sequence[str]) -> int:
    """Take the users out of the online store, and out of a file that was it before a Redis; in how many places each."""
    gone, file = 0, online.path_of(config.home)
    for uri in dict.fromkeys((config.online_uri, f"sqlite:///{file}")):
        if uri == f"sqlite:///{file}" and not file.exists():
            continue
        with online.open_store(uri).publication() as writer:
            writer.claim(config.home)
            gone += writer.forget(vectors.entity_keys(list(user_ids)))
    return gone
