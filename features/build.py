"""Events to feature tables: one Parquet file per table and snapshot."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import ibis
import ibis.expr.types as ir
import pyarrow.parquet as pq

from configs import Config
from configs.errors import EventsError, FeatureError
from features import periods, snapshots
from features.behaviour.tables import category_tiles, item_tiles, items, user_categories
from features.behaviour.user import snapshots_arrow, user_features, user_vectors
from features.catalog import digest
from features.engine import Engine, engine_of
from features.events import content_hash, read_events
from features.forgotten import Forgotten, listed, place
from features.history import Coder, histories, history_lines, ids_of
from features.periods import upto
from features.profile import profiles
from features.source_code import features_digest
from features.tiles import Keep, Number, Tiles, clock_of, cut, in_order, in_tiles, tile_of

__all__ = ["TABLES", "BuildReport", "Known", "build", "snapshot_path", "user_features"]

#: ``hindsight``: everything we know today; ``as_of``: what was known at each snapshot; an instant: what was known then.
Known = Literal["hindsight", "as_of"] | datetime


@dataclass(frozen=True)
class BuildReport:
    """What a build wrote: per table its rows, files and bytes."""

    tables: dict[str, dict[str, int]]
    as_ofs: tuple[datetime, ...]
    seconds: float
    events: int


class Pass:
    """One pass over the events for snapshots that share a time of day: the tiles, each cut when first asked for."""

    def __init__(
        self, events: ir.Table, as_ofs: Sequence[datetime], keep: Keep, coder: Coder, number: Number = in_order
    ) -> None:
        self.events, self.clock, self.keep, self.coder = upto(events, max(as_ofs)), clock_of(as_ofs[0]), keep, coder
        self.first, self.number = tile_of(min(as_ofs)), number

    @cached_property
    def users(self) -> Tiles:
        return cut(self.events, self.clock, self.keep, self.first, self.number)

    @cached_property
    def categories(self) -> ir.Table:
        return self.keep("user_categories", category_tiles(in_tiles(self.events, self.clock)))

    @cached_property
    def items(self) -> ir.Table:
        return self.keep("items", item_tiles(in_tiles(self.events, self.clock)))

    @cached_property
    def codes(self) -> ir.Table:
        return self.coder(ids_of(history_lines(self.events)))


def _profiles(tiles: Pass, as_ofs: ir.Table) -> ir.Table:
    categories = user_categories(tiles.categories, as_ofs)
    return profiles(user_vectors(tiles.users, as_ofs), tiles.events, categories, as_ofs)


#: The tables that a build can write.
TABLES: dict[str, Callable[[Pass, ir.Table], ir.Table]] = {
    "user": lambda tiles, as_ofs: user_vectors(tiles.users, as_ofs),
    "user_category": lambda tiles, as_ofs: user_categories(tiles.categories, as_ofs),
    "item": lambda tiles, as_ofs: items(tiles.items, as_ofs),
    "profile": _profiles,
    "history": lambda tiles, as_ofs: histories(history_lines(tiles.events), tiles.codes, as_ofs),
}


def snapshot_path(config: Config, table: str, as_of: datetime) -> Path:
    """The file of one snapshot.

    Examples
    --------
    >>> from configs import load
    >>> snapshot_path(load("/srv"), "user", periods.as_utc("2011-09-10")).as_posix()
    '/srv/features/user/2011-09-10T000000Z.parquet'
    """
    return config.home / "features" / table / f"{as_of:%Y-%m-%dT%H%M%S}Z.parquet"


def build(
    config: Config,
    as_ofs: Sequence[datetime],
    *,
    known: Known = "hindsight",
    tables: Sequence[str] = ("user",),
    source_events: ir.Table | None = None,
    keep_current: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> BuildReport:
    """Write one Parquet file per table and snapshot; a file appears whole or not at all.

    Snapshots of another catalogue go: nobody can read them any more.

    Parameters
    ----------
    as_ofs
        Snapshots, aware; none later than now. Those at one time of day share one pass over the events.
    known
        Which knowledge the features may use (see `Known`); an event counts when ``ingested_at`` is not later.
    tables
        Of `TABLES`.
    source_events
        Events to use instead of the committed ones.
    keep_current
        Leave out snapshots whose file was built by the same code from the same events, catalogue and ``known``.

    Raises
    ------
    EventsError
        When no event is known at or before a snapshot.
    FeatureError
        When a snapshot lies in the future, or a table is unknown.
    """
    started = time.monotonic()
    as_ofs = _checked(config, as_ofs, tables)
    # Before the events are listed: an ingest in between makes the snapshots outdated, never falsely current.
    origin, began = _origin(config, source_events, known), listed(config)
    engine = engine_of(config, source_events)
    events = read_events(engine.backend, config) if source_events is None else source_events
    if isinstance(known, datetime):
        events = upto(events, known, "ingested_at")
    built_at = periods.now(config)
    for table in tables:
        snapshots.drop_unreadable(config, table, digest())
    if keep_current:
        as_ofs = [
            as_of
            for as_of in as_ofs
            if any(not snapshots.is_current(snapshot_path(config, t, as_of), origin) for t in tables)
        ]
    report: dict[str, dict[str, int]] = {table: {"rows": 0, "files": 0, "bytes": 0} for table in tables}
    done, total = 0, len(as_ofs) * len(tables)
    (config.home / "tmp").mkdir(parents=True, exist_ok=True)
    for group, known_events in _passes(engine, events, as_ofs, known):
        if progress:
            progress("cutting events into daily tiles", done / total)
        with tempfile.TemporaryDirectory(prefix="tiles-", dir=config.home / "tmp") as scratch:
            folder = Path(scratch)
            tiles = Pass(known_events, group, *_in(engine, folder))
            for table in tables:
                written = _write(config, engine, table, tiles, group, built_at, folder, origin, began)
                for as_of, path, rows in written:
                    done += 1
                    report[table]["rows"] += rows
                    report[table]["files"] += 1
                    report[table]["bytes"] += path.stat().st_size
                    if progress:
                        progress(f"{table} {as_of:%Y-%m-%d}", done / total)
    return BuildReport(report, tuple(as_ofs), time.monotonic() - started, engine.count(events))


def _origin(config: Config, source_events: ir.Table | None, known: Known) -> dict[str, str]:
    """What a snapshot was made from, as its file's metadata say it: digests and an instant, no outside text."""
    events = {} if source_events is not None else {"events": content_hash(config)}
    instant = known.isoformat() if isinstance(known, datetime) else known
    return {"catalogue_digest": digest(), "code": features_digest(), "known": instant, **events}


def _checked(config: Config, as_ofs: Sequence[datetime], tables: Sequence[str]) -> list[datetime]:
    unknown = sorted(set(tables) - set(TABLES))
    if unknown:
        raise FeatureError("no such feature table", got=unknown, expected=sorted(TABLES))
    present = periods.now(config)
    ordered = sorted({periods.as_utc(as_of) for as_of in as_ofs})
    if not ordered:
        raise FeatureError("a build needs at least one snapshot", got=[], expected="as_of instants")
    if ordered[-1] > present:
        raise FeatureError(
            "a snapshot lies in the future",
            got=ordered[-1].isoformat(),
            expected=f"at most {present.isoformat()}",
            because="the events up to it have not happened yet",
        )
    return ordered


def _passes(
    engine: Engine, events: ir.Table, as_ofs: list[datetime], known: Known
) -> Iterator[tuple[list[datetime], ir.Table]]:
    """The passes over the events that the snapshots need: one per time of day, or one each where late news differ."""
    if known == "as_of":
        late = events.ingested_at > events.event_at
        hidden = [(events.event_at <= as_of) & (events.ingested_at > as_of) for as_of in as_ofs]
        if engine.count(events.filter(late & ibis.or_(*hidden)).limit(1)):
            for as_of in as_ofs:
                yield [as_of], upto(events, as_of, "ingested_at")
            return
    for clock in sorted({clock_of(as_of) for as_of in as_ofs}):
        yield [as_of for as_of in as_ofs if clock_of(as_of) == clock], events


def _in(engine: Engine, scratch: Path) -> tuple[Keep, Coder, Number]:
    """What a pass wants done by the engine, in the folder ``scratch``."""
    return (
        lambda name, table: engine.keep(name, table, scratch),
        lambda ids: engine.codes(ids, scratch),
        engine.number,
    )


def _write(
    config: Config,
    engine: Engine,
    table: str,
    tiles: Pass,
    as_ofs: list[datetime],
    built_at: datetime,
    scratch: Path,
    origin: dict[str, str],
    began: Forgotten,
) -> Iterator[tuple[datetime, Path, int]]:
    """Each snapshot's file: one query, compiled once, that reads its snapshot from a view of one row."""
    query = ""
    for as_of in as_ofs:
        row = scratch / f"snapshot-{table}-{tile_of(as_of)}.parquet"
        pq.write_table(snapshots_arrow([as_of]), row)
        snapshot = engine.backend.read_parquet(row, table_name="snapshot")
        if not query:
            rows = TABLES[table](tiles, snapshot)
            rows = rows.mutate(built_at=ibis.literal(built_at, type="timestamp('UTC', 6)"))
            rows = rows.relocate("built_at", after="as_of")
            query = engine.backend.compile(rows.order_by("user_id") if table == "user" else rows)
        path = snapshot_path(config, table, as_of)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = scratch / f"{table}-{path.name}"  # what a killed build leaves lies where `userops forget` sweeps
        try:
            count = engine.write(query, whole, table == "user", origin)
            if not count and table == "user":  # a source may well have no categories and no items
                raise EventsError(
                    f"no event is known at or before {as_of.isoformat()}",
                    because="the snapshot lies before the first event, or nothing was ingested",
                    run="userops status",
                )
            if table in snapshots.BY_PEOPLE:
                place(config, whole, path, began)
            else:
                os.replace(whole, path)
        finally:
            whole.unlink(missing_ok=True)
        yield as_of, path, count
