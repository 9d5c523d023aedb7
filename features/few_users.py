"""The feature tables of a few users at any instant: the build's own expressions, compiled once, run over their events.

`features.build` streams everybody's events through files; here the events of some users lie in a table in memory, the
time of day is a variable of the session, and what a vector takes from the whole shop comes as a row (`shop_state`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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
        self.sql = self.backend.con
        self._arrow("no_events", _no_events())
        self._arrow("own_events", _no_events())
        self._arrow("at_instant", snapshots_arrow([datetime.fromisoformat("1970-01-02T00:00:00+00:00")]))
        self._arrow("own_codes", code_table(pa.array([], pa.string())))
        self.sql.execute("SET VARIABLE clock_us = 0::BIGINT")
        self._compile()
        self._compile_every()

    # ── the shop ────────────────────────────────────────────────────────────────────────────────────────────────

    def learn_shop(self, files: Sequence[str]) -> None:
        """Take the state of the whole shop from all events, which lie in these files: the one long step."""
        self.sql.execute("SET threads = ?", [self.threads])
        scan = f"read_parquet([{', '.join(map(literal, files))}], hive_partitioning = false)" if files else "no_events"
        self.sql.execute(f"CREATE OR REPLACE VIEW every_event AS SELECT {', '.join(COLUMNS)} FROM {scan}")
        for name, query in self._every.items():
            self.sql.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")
        for name in self._every:
            if name.startswith("every_"):
                self.sql.execute(f"DROP TABLE {name}")
        self.sql.execute("SET threads = 1")  # for little tables others only wait for each other

    def merge_own(self) -> None:
        """Let the state of the shop say of the users in ``own_events`` what these events say."""
        for name in ("starts", "lasts"):
            self.sql.execute(f"DELETE FROM shop_{name} WHERE user_id IN (SELECT DISTINCT user_id FROM own_events)")
            self.sql.execute(f"INSERT INTO shop_{name} BY NAME {self._own[name]}")
        both = f"SELECT * FROM shop_parts UNION ALL BY NAME ({self._own['parts']})"
        columns = [row[0] for row in self.sql.execute("DESCRIBE shop_parts").fetchall()]
        merged = ", ".join(f"{'min' if c == 'first_at' else 'max'}({c}) AS {c}" for c in columns)
        self.sql.execute(f"CREATE OR REPLACE TABLE shop_parts AS SELECT {merged} FROM ({both})")

    @property
    def newest_us(self) -> int:
        """The instant of the newest event that the state of the shop has seen."""
        return int(self.sql.execute("SELECT coalesce(max(newest_at), 0) FROM shop_parts").fetchall()[0][0])

    # ── the users ───────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, query: str, parameters: Sequence[object], live: pa.Table) -> None:
        """Let ``own_events`` be the rows of a query, and of ``live`` those whose event_id is not among them."""
        self._arrow("live_events", live)
        self.sql.execute(f"CREATE OR REPLACE TABLE own_events AS {query}", list(parameters))
        self.sql.execute("INSERT INTO own_events BY NAME FROM live_events ANTI JOIN own_events USING (event_id)")

    def everything(self, stored: ir.Table, live: pa.Table) -> ir.Table:
        """All stored events, and those of ``live`` that are not stored yet."""
        self._arrow("every_live", live)
        news = self.backend.table("every_live").cast(stored.schema())
        return stored.union(news.anti_join(stored, "event_id"))

    def cut(self, as_of: datetime) -> None:
        """Cut ``own_events`` into the daily tiles that end at the time of day of ``as_of``."""
        clock = clock_of(as_of) // timedelta(microseconds=1)
        self.sql.execute(f"SET VARIABLE clock_us = {clock}::BIGINT")
        self._arrow("at_instant", snapshots_arrow([as_of]))
        for name, query in self._tiles.items():
            self.sql.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")

    def rows(self, as_of: datetime, everything: ir.Table | None = None) -> Rows:
        """The tables of the users that were cut; ``everything``: all events, when some lie after ``as_of``."""
        if everything is None:
            shop = self._shop
        else:  # what came later must be left out of the whole shop too: no table of it says how
            tiles = cut(upto(everything, as_of), clock_of(as_of))
            shop = self.backend.compile(shop_facts(tiles, self.backend.table("at_instant")))
        self.sql.execute(f"CREATE OR REPLACE TABLE shop_row AS {shop}")
        self._arrow("own_codes", code_table(self.sql.execute(self._ids).to_arrow_table().column(0).combine_chunks()))
        self.sql.execute(f"CREATE OR REPLACE TABLE own_vectors AS {self._vectors}")
        user, profile, history = (
            self.sql.execute(query).to_arrow_table()
            for query in ("FROM own_vectors ORDER BY user_id", self._profiles, self._histories)
        )
        return Rows(as_of, user, profile, history)

    def close(self) -> None:
        """Free the memory."""
        self.backend.disconnect()

    # ── compiled once ───────────────────────────────────────────────────────────────────────────────────────────

    def _compile(self) -> None:
        table, compiled = self.backend.table, self.backend.compile
        events, at, clock = table("own_events"), table("at_instant"), _variable("clock_us")
        self._tiles: dict[str, str] = {}

        def keep(name: str, made: ir.Table) -> ir.Table:
            self._tiles[f"own_{name}"] = compiled(made)
            self.sql.execute(f"CREATE OR REPLACE TABLE own_{name} AS {self._tiles[f'own_{name}']}")
            return table(f"own_{name}")

        tiles = cut(events, clock, keep)
        categories = keep("user_categories", category_tiles(in_tiles(events, clock)))
        contributions = {"starts": order_starts(events), "lasts": last_purchases(events)}
        contributions["parts"] = parts_seen(events, tiles.shop)
        self._own = {name: compiled(expression) for name, expression in contributions.items()}
        for name, query in self._own.items():
            self.sql.execute(f"CREATE OR REPLACE TABLE shop_{name} AS {query}")
        self._shop = compiled(shop_facts_at(table("shop_starts"), table("shop_lasts"), table("shop_parts"), at))
        self.sql.execute(f"CREATE OR REPLACE TABLE shop_row AS {self._shop}")
        self._vectors = compiled(user_vectors(tiles, at, table("shop_row")))
        self.sql.execute(f"CREATE OR REPLACE TABLE own_vectors AS {self._vectors}")
        vectors = profiles(table("own_vectors"), events, user_categories(categories, at), at)
        self._profiles = compiled(vectors.order_by("user_id"))
        lines = history_lines(events)
        self._ids = compiled(ids_of(lines))
        self._histories = compiled(histories(lines, table("own_codes"), at).order_by("user_id"))

    def _compile_every(self) -> None:
        """The state of the shop from the view ``every_event``; tables to make in this order."""
        self._every: dict[str, str] = {}
        self.sql.execute("CREATE OR REPLACE VIEW every_event AS FROM no_events")
        events = self.backend.table("every_event")

        def keep(name: str, made: ir.Table) -> ir.Table:
            if name not in ("users", "days", "trades", "shop"):
                return made
            self._every[f"every_{name}"] = self.backend.compile(made)
            self.sql.execute(f"CREATE OR REPLACE TABLE every_{name} AS {self._every[f'every_{name}']}")
            return self.backend.table(f"every_{name}")

        shop = cut(events, timedelta(0), keep).shop
        made = {"starts": order_starts(events), "lasts": last_purchases(events), "parts": parts_seen(events, shop)}
        self._every |= {f"shop_{name}": self.backend.compile(expression) for name, expression in made.items()}

    def _arrow(self, name: str, content: pa.Table) -> None:
        self.sql.register("arrow_table", content)
        self.sql.execute(f"CREATE OR REPLACE TABLE {name} AS FROM arrow_table")
        self.sql.unregister("arrow_table")


def _no_events() -> pa.Table:
    from features.live_events import lines_table

    return lines_table([])
