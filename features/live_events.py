"""Live behaviour on its way into the event store: judged by the rules of source ``live``, the same as any export's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Config
from features import periods
from features.events import COLUMNS
from features.ingest import IngestReport, ingest
from features.inputs import LINE
from features.rules import judged
from features.sources import load_source

__all__ = ["SOURCE", "Judge", "LiveLine", "drain", "lines_table"]

SOURCE = "live"
_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "float64": pa.float64(),
    "timestamp('UTC', 6)": pa.timestamp("us", "UTC"),
}
_SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in COLUMNS.items()])


class LiveLine(NamedTuple):
    """One line of live behaviour: the sender's ``event_id``, the event tuple, when we learned of it (us)."""

    event_id: str
    user_id: str
    event_type: str
    event_at_us: int
    channel: str | None
    category_id: str | None
    item_id: str | None
    store_id: str | None
    order_id: str | None
    quantity: float | None
    amount: float | None
    props: str | None
    received_at_us: int


def lines_table(lines: Sequence[LiveLine]) -> pa.Table:
    """The lines as a table with the columns of the event tuple."""
    columns = dict(zip(LiveLine._fields, zip(*lines, strict=True), strict=True)) if lines else {}
    columns |= {"event_at": columns.get("event_at_us", ()), "ingested_at": columns.get("received_at_us", ())}
    return pa.table([pa.array(columns.get(field.name, ()), field.type) for field in _SCHEMA], schema=_SCHEMA)


def drain(config: Config, rows: Sequence[LiveLine]) -> IngestReport | None:
    """Take live events into the event store as source ``live``; rows that are there already change nothing.

    ``accepted + quarantined + duplicates == len(rows)``. Events keep their identity (`Judge`), so that what was
    computed from them before and after is the same. None when there are no rows.
    """
    if not rows:
        return None
    folder = config.home / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="live-", dir=folder) as scratch:
        path = Path(scratch) / "live.parquet"
        pq.write_table(lines_table(rows), path)
        return ingest(config, SOURCE, path)


class Judge:
    """Makes of live lines the events that `drain` will make of them, id included; refuses the same lines."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("SET TimeZone = 'UTC'")
        # As in features/ingest.py: a CAST computed once, outside of both try(), would end it all.
        self.connection.execute("SET disabled_optimizers = 'common_subexpressions'")
        self._register([])
        described = self.connection.execute("DESCRIBE live_lines").fetchall()
        columns = {name: kind for name, kind, *_ in described if name != LINE}
        events = ", ".join(name if name != "event_id" else "identity AS event_id" for name in COLUMNS)
        query = judged(self.connection, load_source(SOURCE), "live_lines", columns, "live events")
        self.query = f"SELECT {events} FROM ({query}) WHERE rule IS NULL"

    def events(self, lines: Sequence[LiveLine], now: datetime) -> pa.Table:
        """The sound ones as events (`features.events.COLUMNS`), as known at ``now``."""
        self._register(lines)
        self.connection.execute("SET VARIABLE known_at = ?", [now])
        self.connection.execute("SET VARIABLE latest = ?", [now + periods.DAY])
        return self.connection.execute(self.query).to_arrow_table().cast(_SCHEMA)

    def _register(self, lines: Sequence[LiveLine]) -> None:
        table = lines_table(lines).append_column(LINE, pa.array(range(1, len(lines) + 1), pa.int64()))
        self.connection.register("live_lines", table)
