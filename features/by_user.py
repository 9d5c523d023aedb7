"""The stored events once more, each user's side by side: a few users' events without reading everybody's.

``events/by_user.parquet`` is a sorted copy that names the batches it was made from. Batches that came after it are read
beside it, so the answer is always that of the ledger; it is sorted anew when they grow, or when a batch is gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import duckdb

from configs import Config
from features.engine import connect
from features.events import COLUMNS
from features.forgotten import listed, place
from features.inputs import literal
from features.ledger import Ledger

__all__ = ["ByUser"]

GROUP = 16_384  # rows that a look-up of one user reads at least
GROWN = 0.1  # sort anew when the later batches hold more than this part of the events ...
FEW = 20_000  # ... and more events than this
_KEY = b"batches"


class ByUser:
    """The events of single users of one home. Not for several threads at once."""

    def __init__(self, config: Config) -> None:
        self.config, self.ledger = config, Ledger(config)
        self.path = self.ledger.folder / "by_user.parquet"
        self._covered: frozenset[str] | None = None  # the batches of the sorted copy; None: not looked yet
        self._state: tuple[frozenset[str], list[str]] | None = None

    def batches(self) -> frozenset[str]:
        """The committed batches with events."""
        return frozenset(batch.batch_id for batch in self.ledger.batches() if batch.accepted)

    def files(self) -> list[str]:
        """The files that hold every event once: the sorted copy, then those of later batches."""
        batches = self.batches()
        if self._state is None or self._state[0] != batches:
            covered = self._current(batches)
            later = [str(one.path) for one in self.ledger.files_of(sorted(batches - covered))]
            self._state = batches, [*([str(self.path)] if covered else []), *later]
        return self._state[1]

    def select(self, user_ids: Sequence[str]) -> tuple[str, list[str]]:
        """The query (DuckDB) of all stored events of these users, and its parameters."""
        columns, files = ", ".join(COLUMNS), self.files()
        if not files or not user_ids:
            nothing = ", ".join(f"CAST(NULL AS {_TYPES[kind]}) AS {name}" for name, kind in COLUMNS.items())
            return f"SELECT {nothing} WHERE false", []
        scan = f"read_parquet([{', '.join(map(literal, files))}], hive_partitioning = false)"
        return f"SELECT {columns} FROM {scan} WHERE user_id IN ({', '.join('?' * len(user_ids))})", list(user_ids)

    def _current(self, batches: frozenset[str]) -> frozenset[str]:
        """The batches that the sorted copy holds, after sorting anew where that is needed."""
        if self._covered is None:
            self._covered = self._read_covered()
        events = {batch.batch_id: batch.accepted for batch in self.ledger.batches()}
        inside = sum(events.get(one, 0) for one in self._covered)
        later = sum(events.values()) - inside
        if not self._covered <= batches or later > max(FEW, GROWN * inside):
            self._sort(batches)
            self._covered = batches
        return self._covered

    def _read_covered(self) -> frozenset[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            written = (pq.read_metadata(self.path).metadata or {}).get(_KEY, b"[]")
            return frozenset(json.loads(written))
        except (OSError, ValueError, pa.ArrowException):
            return frozenset()  # it is a copy: what cannot be read is made anew

    def _sort(self, batches: frozenset[str]) -> None:
        files = ", ".join(literal(one.path) for one in self.ledger.files_of(sorted(batches)))
        whole = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        backend, began = connect(self.config), listed(self.config)
        try:
            connection: duckdb.DuckDBPyConnection = backend.con
            connection.execute(
                f"COPY (SELECT {', '.join(COLUMNS)} FROM read_parquet([{files}], hive_partitioning = false) "
                f"ORDER BY user_id) TO {literal(whole)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP}, "
                f"WRITE_BLOOM_FILTER false, KV_METADATA {{{_KEY.decode()}: {literal(json.dumps(sorted(batches)))}}})"
            )
            place(self.config, whole, self.path, began)
        finally:
            backend.disconnect()
            whole.unlink(missing_ok=True)


_TYPES = {"string": "VARCHAR", "float64": "DOUBLE", "timestamp('UTC', 6)": "TIMESTAMPTZ"}
