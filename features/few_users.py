"""The feature tables of a few users at any instant: the build's own expressions, compiled once, run over their events.

`features.build` streams everybody's events through files; here the events of some users lie in a table in memory, the
time of day is a variable of the session, and what a vector takes from the whole shop comes as a row (`shop_state`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from configs import Config
from features.behaviour.facts import shop_facts
from features.behaviour.tables import category_tiles, user_categories
from features.behaviour.user import snapshots_arrow, user_vectors
from features.engine import connect
from features.events import COLUMNS
from features.history import code_table, histories, history_lines, ids_of
from features.inputs import literal
from features.periods import upto
from features.profile import profiles
from features.shop_state import last_purchases, order_starts, parts_seen, shop_facts_at
from features.tiles import clock_of, cut, in_tiles

__all__ = ["FewUsers", "Rows"]

CLEAN_EVERY = 20  # merges; no refresh was seen to take longer for it


@ibis.udf.scalar.builtin(name="getvariable", signature=(("string",), "int64"))  # type: ignore[untyped-decorator]
def _variable(variable: str) -> int:  # type: ignore[empty-body]
    """A variable of the DuckDB session."""


@dataclass(frozen=True)
class Rows:
    """The tables of some users at one instant: ``user`` (86 features), ``profile`` and ``history`` as in a build."""

    as_of: datetime
    user: pa.Table
    profile: pa.Table
    history: pa.Table


class FewUsers:
    """A DuckDB in memory with the state of the shop and, per call, the events of a few users. One thread at a time."""

    def __init__(self, config: Config) -> None:
        self.backend, self.threads = connect(config), config.threads
        self._merged = 0
        self.sql = self.backend.con
        for name, content in _empty().items():
            _arrow(self.sql, name, content)
        self.sql.execute("SET VARIABLE clock_us = 0::BIGINT")
        self._queries = _compiled()
        for name, query in self._queries.tables.items():
            self.sql.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")

    # ── the shop ────────────────────────────────────────────────────────────────────────────────────────────────

    def learn_shop(self, files: Sequence[str]) -> None:
        """Take the state of the whole shop from all events, which lie in these files: the one long step."""
        self.sql.execute("SET threads = ?", [self.threads])
        scan = f"read_parquet([{', '.join(map(literal, files))}], hive_partitioning = false)" if files else "no_events"
        self.sql.execute(f"CREATE OR REPLACE VIEW every_event AS SELECT {', '.join(COLUMNS)} FROM {scan}")
        for name, query in self._queries.every.items():
            self.sql.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")
        for name in self._queries.every:
            if name.startswith("every_"):
                self.sql.execute(f"DROP TABLE {name}")
        self.sql.execute("SET threads = 1")  # for little tables others only wait for each other

    def merge_own(self) -> None:
        """Let the state of the shop say of the users in ``own_events`` what these events say."""
        for name in ("starts", "lasts"):
            self.sql.execute(f"DELETE FROM shop_{name} WHERE user_id IN (SELECT DISTINCT user_id FROM own_events)")
            self.sql.execute(f"INSERT INTO shop_{name} BY NAME {self._queries.own[name]}")
        both = f"SELECT * FROM shop_parts UNION ALL BY NAME ({self._queries.own['parts']})"
        columns = [row[0] for row in self.sql.execute("DESCRIBE shop_parts").fetchall()]
        merged = ", ".join(f"{'min' if c == 'first_at' else 'max'}({c}) AS {c}" for c in columns)
        self.sql.execute(f"CREATE OR REPLACE TABLE shop_parts AS SELECT {merged} FROM ({both})")
        self._merged += 1
        if self._merged % CLEAN_EVERY == 0:
            self.sql.execute("CHECKPOINT")  # in memory, too, DuckDB keeps what was replaced until then: .5 MB a call

    @property
    def newest_us(self) -> int:
        """The instant of the newest event that the state of the shop has seen."""
        return int(self.sql.execute("SELECT coalesce(max(newest_at), 0) FROM shop_parts").fetchall()[0][0])

    # ── the users ───────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, query: str, parameters: Sequence[object], live: pa.Table) -> None:
        """Let ``own_events`` be the rows of a query, and of ``live`` those whose event_id is not among them."""
        _arrow(self.sql, "live_events", live)
        self.sql.execute(f"CREATE OR REPLACE TABLE own_events AS {query}", list(parameters))
        self.sql.execute("INSERT INTO own_events BY NAME FROM live_events ANTI JOIN own_events USING (event_id)")

    def everything(self, stored: ir.Table, live: pa.Table) -> ir.Table:
        """All stored events, and those of ``live`` that are not stored yet."""
        _arrow(self.sql, "every_live", live)
        news = self.backend.table("every_live").cast(stored.schema())
        return stored.union(news.anti_join(stored, "event_id"))

    def cut(self, as_of: datetime) -> None:
        """Cut ``own_events`` into the daily tiles that end at the time of day of ``as_of``."""
        clock = clock_of(as_of) // timedelta(microseconds=1)
        self.sql.execute(f"SET VARIABLE clock_us = {clock}::BIGINT")
        _arrow(self.sql, "at_instant", snapshots_arrow([as_of]))
        for name, query in self._queries.tiles.items():
            self.sql.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")

    def rows(self, as_of: datetime, everything: ir.Table | None = None) -> Rows:
        """The tables of the users that were cut; ``everything``: all events, when some lie after ``as_of``."""
        if everything is None:
            shop = self._queries.shop
        else:  # what came later must be left out of the whole shop too: no table of it says how
            tiles = cut(upto(everything, as_of), clock_of(as_of))
            shop = self.backend.compile(shop_facts(tiles, self.backend.table("at_instant")))
        self.sql.execute(f"CREATE OR REPLACE TABLE shop_row AS {shop}")
        _arrow(
            self.sql,
            "own_codes",
            code_table(self.sql.execute(self._queries.ids).to_arrow_table().column(0).combine_chunks()),
        )
        self.sql.execute(f"CREATE OR REPLACE TABLE own_vectors AS {self._queries.vectors}")
        user, profile, history = (
            self.sql.execute(query).to_arrow_table()
            for query in ("FROM own_vectors ORDER BY user_id", self._queries.profiles, self._queries.histories)
        )
        return Rows(as_of, user, profile, history)

    def close(self) -> None:
        """Free the memory."""
        self.backend.disconnect()


@dataclass(frozen=True)
class _Queries:
    """By the name of the table that it makes, in an order in which they can be made: own tiles, shop, vectors."""

    tiles: dict[str, str]
    own: dict[str, str]
    every: dict[str, str]
    shop: str
    vectors: str
    profiles: str
    ids: str
    histories: str

    @property
    def tables(self) -> dict[str, str]:
        """What there is, though empty, before anything was learned."""
        shop = {f"shop_{name}": query for name, query in self.own.items()}
        return {**self.tiles, **shop, "shop_row": self.shop, "own_vectors": self.vectors}


@cache
def _compiled() -> _Queries:
    """The queries, the same in every home: compiling them takes seconds, and a process does it once."""
    backend = ibis.duckdb.connect()
    sql, table, compiled = backend.con, backend.table, backend.compile
    sql.execute("SET TimeZone = 'UTC'")
    for name, content in _empty().items():
        _arrow(sql, name, content)
    sql.execute("SET VARIABLE clock_us = 0::BIGINT")
    events, at, clock = table("own_events"), table("at_instant"), _variable("clock_us")
    own_tiles: dict[str, str] = {}

    def made(name: str, query: str) -> ir.Table:
        sql.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")
        return table(name)

    def keep(name: str, expression: ir.Table) -> ir.Table:
        own_tiles[f"own_{name}"] = compiled(expression)
        return made(f"own_{name}", own_tiles[f"own_{name}"])

    tiles = cut(events, clock, keep)
    categories = keep("user_categories", category_tiles(in_tiles(events, clock)))
    contributions = {"starts": order_starts(events), "lasts": last_purchases(events)}
    contributions["parts"] = parts_seen(events, tiles.shop)
    own = {name: compiled(expression) for name, expression in contributions.items()}
    starts, lasts, parts = (made(f"shop_{name}", query) for name, query in own.items())
    shop = compiled(shop_facts_at(starts, lasts, parts, at))
    vectors = compiled(user_vectors(tiles, at, made("shop_row", shop)))
    profiled = profiles(made("own_vectors", vectors), events, user_categories(categories, at), at)
    lines = history_lines(events)
    found = _Queries(
        own_tiles,
        own,
        _every(backend),
        shop,
        vectors,
        compiled(profiled.order_by("user_id")),
        compiled(ids_of(lines)),
        compiled(histories(lines, table("own_codes"), at).order_by("user_id")),
    )
    backend.disconnect()
    return found


def _every(backend: Any) -> dict[str, str]:
    """The state of the shop from the view ``every_event``; tables to make in this order."""
    queries: dict[str, str] = {}
    backend.con.execute("CREATE OR REPLACE VIEW every_event AS FROM no_events")
    events = backend.table("every_event")

    def keep(name: str, made: ir.Table) -> ir.Table:
        if name not in ("users", "days", "trades", "shop"):
            return made
        queries[f"every_{name}"] = backend.compile(made)
        backend.con.execute(f"CREATE OR REPLACE TABLE every_{name} AS {queries[f'every_{name}']}")
        return backend.table(f"every_{name}")

    shop = cut(events, timedelta(0), keep).shop
    made = {"starts": order_starts(events), "lasts": last_purchases(events), "parts": parts_seen(events, shop)}
    return queries | {f"shop_{name}": backend.compile(expression) for name, expression in made.items()}


def _empty() -> dict[str, pa.Table]:
    """The tables that the queries read, without a row but for an instant."""
    instant = snapshots_arrow([datetime.fromisoformat("1970-01-02T00:00:00+00:00")])
    codes = code_table(pa.array([], pa.string()))
    return {"no_events": _no_events(), "own_events": _no_events(), "at_instant": instant, "own_codes": codes}


def _arrow(sql: Any, name: str, content: pa.Table) -> None:
    sql.register("arrow_table", content)
    sql.execute(f"CREATE OR REPLACE TABLE {name} AS FROM arrow_table")
    sql.unregister("arrow_table")


def _no_events() -> pa.Table:
    from features.live_events import lines_table

    return lines_table([])
