"""Lines to events: map, judge, drop what is known, commit.

``ingest`` reads each input as its mapping says, refuses the lines that break a rule (they go, whole, into quarantine),
drops the lines that are known already, and adds the rest to the event store in one step that either happens or not.
Nothing is lost and nothing counted twice: ``accepted + quarantined + duplicates + forgotten == read``; forgotten are
the lines of people whom `userops forget` has erased: they are read and kept nowhere.

All the lines pass through DuckDB and files; memory holds none of them, so a file may be larger than memory.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from configs import Config
from configs.errors import ConfigError, EventsError, SourceError
from features import periods, snapshots
from features.engine import connect
from features.entities import merge_entities
from features.forgotten import listed
from features.inputs import Input, find_inputs, pieces
from features.ledger import Batch, Known, Ledger
from features.sources import Source, load_source
from features.staging import Staging

__all__ = ["IngestReport", "ingest"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class IngestReport:
    """What became of the lines: ``accepted + quarantined + duplicates + forgotten == read``.

    ``by_rule`` counts the lines newly put into quarantine; ``examples`` tells the first of each rule: file, line,
    value, and the mapping entry to change. ``first_event_at`` and ``last_event_at`` are those of the accepted events,
    None when there are none.
    """

    source: str
    files: int
    read: int
    accepted: int
    quarantined: int
    duplicates: int
    by_rule: dict[str, int]
    first_event_at: datetime | None
    last_event_at: datetime | None
    seconds: float
    batch_id: str | None = None
    forgotten: int = 0
    examples: dict[str, str] = field(default_factory=dict)


def ingest(
    config: Config,
    source: str | Path,
    data: Path,
    progress: Progress | None = None,
    *,
    replace: bool = False,
) -> IngestReport:
    """Add the events of ``data`` that are not in the store yet; a second call with the same data adds none.

    Parameters
    ----------
    source
        The name of a mapping in ``configs/sources``, or the path of one.
    data
        A file, a folder, or a pattern such as ``exports/*.csv``.
    progress
        Called with what is being done and the share of it that is behind, in [0, 1].
    replace
        Drop all that this source has given so far, in the same step: for a mapping that has changed.
    """
    started = time.perf_counter()
    data = Path(data)
    mapping = load_source(source)
    ledger = Ledger(config)
    tell = progress or (lambda what, share: None)
    tell("looking for files", 0.0)
    inputs = find_inputs(mapping.read, data, mapping.entry("read"))
    with ledger.lock(progress):
        ledger.sweep()
        _check_unchanged(mapping, ledger, replace)
        known = {} if replace else ledger.known_inputs(mapping.name, mapping.digest)
        settled = {sha256: one for sha256, one in known.items() if one.final}
        unread = [one for one in inputs if one.sha256 not in settled]
        again = [settled[one.sha256] for one in inputs if one.sha256 in settled]
        people = listed(config)
        with _session(config, mapping) as connection:
            staging = Staging(connection, mapping, ledger, _batch_id(), replace, people)
            try:
                batch, read_now = _take(staging, unread, tell)
                examples = staging.examples()
                _check_replacement(ledger, batch, replace)
                merge_entities(connection, ledger, mapping, data, staging.folder, people)
                if unread:
                    ledger.commit(batch, read_now, mapping.digest, staging.folder, replace)
            except duckdb.Error as error:
                because = str(error).split("\n")[0]
                raise EventsError("the ingest stopped; the store is as it was before", because=because) from error
            finally:
                staging.discard()
    if replace:
        snapshots.drop_all(config)
    tell("done", 1.0)
    first, last = (_instant(us) for us in (batch.first_event_us, batch.last_event_us))
    return IngestReport(
        source=mapping.name,
        files=len(inputs),
        read=batch.read + sum(one.lines for one in again),
        accepted=batch.accepted,
        quarantined=batch.quarantined,
        duplicates=batch.duplicates + sum(one.lines - one.forgotten for one in again),
        by_rule=batch.by_rule,
        first_event_at=first,
        last_event_at=last,
        seconds=time.perf_counter() - started,
        batch_id=batch.batch_id if unread else None,
        forgotten=batch.forgotten + sum(one.forgotten for one in again),
        examples=examples,
    )


def _take(staging: Staging, unread: list[Input], tell: Progress) -> tuple[Batch, list[Known]]:
    """Bring the lines of the inputs into the staging, and sum up."""
    source, connection = staging.source, staging.connection
    if not unread:
        return Batch(staging.batch_id, source.name, source.identity, 0, 0, 0, 0, {}, None, None, "0" * 32), []
    for index, one in enumerate(unread):
        behind = 0.0
        for piece in pieces(connection, source.read, one, staging.folder / "pieces", source.entry("read")):
            low, high = ((index + share) / len(unread) * 0.6 for share in (behind, piece.behind))
            with _watching(connection, tell, f"reading {one.name}", low, high):
                staging.add(one, piece)
            behind = piece.behind
    read = sum(staging.lines)
    if not read:
        names = ", ".join(one.name for one in unread[:3])
        raise SourceError(f"{names}: no lines to ingest", got="a header and nothing else", because="an empty export")
    tell("telling lines apart", 0.6)
    staging.tell_apart()
    with _watching(connection, tell, "writing events", 0.65, 0.95):
        good = staging.write_events()
    accepted, first, last, content = staging.summary()
    by_rule = staging.write_quarantine()
    tell("committing", 0.95)
    left_out = sum(staging.forgotten)
    batch = Batch(
        batch_id=staging.batch_id,
        source=source.name,
        identity=source.identity,
        read=read,
        accepted=accepted,
        quarantined=sum(by_rule.values()),
        duplicates=(good - accepted) + (read - left_out - good - sum(by_rule.values())),
        by_rule=by_rule,
        first_event_us=first,
        last_event_us=last,
        content=content,
        forgotten=left_out,
    )
    unsettled = staging.again()
    inputs = [
        Known(one.sha256, one.name, lines, one.name not in unsettled, theirs)
        for one, lines, theirs in zip(unread, staging.lines, staging.forgotten, strict=True)
    ]
    return batch, inputs


@contextmanager
def _watching(
    connection: duckdb.DuckDBPyConnection, tell: Progress, what: str, low: float, high: float
) -> Iterator[None]:
    """Tell how far the running query is, from ``low`` to ``high``, twice a second."""
    done = threading.Event()

    def watch() -> None:
        share = 0.0
        while not done.wait(0.5):
            share = max(share, min(connection.query_progress() / 100, 1.0))
            tell(what, low + (high - low) * share)

    tell(what, low)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


@contextmanager
def _session(config: Config, source: Source) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that spills to disk, with the clock of this ingest in its variables."""
    backend = connect(config)
    connection: duckdb.DuckDBPyConnection = backend.con
    now = periods.now(config)
    connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    # DuckDB computes a CAST that stands in two expressions once, outside of both try(): one bad value would end it all.
    connection.execute("SET disabled_optimizers = 'common_subexpressions'")
    connection.execute("SET VARIABLE known_at = ?", [now])
    connection.execute("SET VARIABLE latest = ?", [now + periods.DAY])
    yield connection
    backend.disconnect()


def _check_replacement(ledger: Ledger, batch: Batch, replace: bool) -> None:
    """Refuse to put nothing in the place of something: one changed date format would cost the whole history."""
    before = sum(one.accepted for one in ledger.batches(batch.source))
    if replace and before and not batch.accepted:
        raise EventsError(
            f"nothing to replace the events of {batch.source} with",
            got=f"0 accepted, {batch.quarantined} refused: {batch.by_rule}",
            expected=f"something in the place of {before} events",
            because="the mapping no longer fits the file",
            run=f"userops ingest {batch.source} without --replace, and look at the refused lines",
        )


def _check_unchanged(mapping: Source, ledger: Ledger, replace: bool) -> None:
    other = next((b for b in ledger.batches(mapping.name) if b.identity != mapping.identity), None)
    if other and not replace:
        raise ConfigError(
            f"the mapping {mapping.file} has changed since {mapping.name} was ingested (batch {other.batch_id})",
            because="another reading of the old lines would count them a second time as other events",
            run=f"userops ingest {mapping.name} --replace, or save the new mapping under another name",
        )


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _batch_id() -> str:
    """Sortable by time, unlike any other."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"
