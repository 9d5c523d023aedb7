"""Features by Spark: DuckDB's expressions, tables between steps in the home folder, which every worker must see.

Nothing is collected: tables stay in files that workers write and read, counts are those of the files' footers, and a
snapshot's parts become its one file by copying their row groups as they are (`features.spark.joining`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Config
from features.codes import code_table
from features.engine import USER_GROUP
from features.ledger import Ledger
from features.spark.compiler import Compiler
from features.spark.joining import join_parts, parts_of
from features.spark.session import cut, session

try:
    from ibis.backends.pyspark import Backend as PySpark
except ImportError:  # pyspark is not installed: nobody makes one, but whoever lists our modules may import this one
    PySpark = object

__all__ = ["Backend", "Spark"]


class Backend(PySpark):  # type: ignore[misc]
    """ibis's connection to Spark, with DuckDB's meaning of each operation, and Parquet read from several files."""

    compiler = Compiler()

    def read_parquet(self, path: Any, /, *, table_name: str | None = None, **_: Any) -> ir.Table:
        """A file, a folder of parts, or a list of them; options of other engines are passed over."""
        paths = [str(one) for one in (path if isinstance(path, (list, tuple)) else [path])]
        name = table_name or ibis.util.gen_name("read_parquet")
        self._session.read.parquet(*paths).createOrReplaceTempView(name)
        return self.table(name)

    def query(self, table: ir.Table) -> str:
        """The SQL of a table, once what it holds in memory is known to Spark."""
        self._register_in_memory_tables(table)
        return str(self.compile(table))

    def write_parquet(self, query: str, folder: Path, rows_per_group: int | None = None) -> None:
        """Write what a query answers into a new folder, a file per partition."""
        writer = self._session.sql(query).write
        if rows_per_group:
            writer = writer.option("maxRecordsPerFile", rows_per_group)  # a part is at least one group
        writer.parquet(str(folder))


@ibis.udf.scalar.builtin(name="monotonically_increasing_id", signature=((), "int64"))  # type: ignore[untyped-decorator]
def _growing() -> int:  # type: ignore[empty-body]
    """A number of its own for every row of a table."""


class Spark:
    """The engine on a cluster."""

    def __init__(self, config: Config, backend: Any = None) -> None:
        if backend is None:
            Backend.register_options()
            backend = Backend()
            backend.do_connect(session(config))
            cut(backend._session, sum(file.bytes for file in Ledger(config).event_files()))
        self.backend = backend
        self._scratch = config.home / "tmp"

    def number(self, users: ir.Table) -> ir.Table:
        """Numbers with gaps: to number in order would take all users to one worker."""
        return users.mutate(user_no=_growing())

    def keep(self, name: str, table: ir.Table, folder: Path) -> ir.Table:
        """A folder of parts."""
        self.backend.write_parquet(self.backend.query(table), folder / name)
        return self.backend.read_parquet(folder / name)

    def codes(self, ids: ir.Table, folder: Path) -> ir.Table:
        """Hashed where the ids lie, a batch of Arrow at a time."""
        found = self.backend.raw_sql(self.backend.query(ids))
        found.mapInArrow(_coded, "id string, code double").write.parquet(str(folder / "codes"))
        return self.backend.read_parquet(folder / "codes")

    def count(self, table: ir.Table) -> int:
        """Counted there; the number comes in a file of one row."""
        folder = self._scratch / ibis.util.gen_name("count")
        try:
            self.backend.write_parquet(self.backend.query(table.aggregate(rows=table.count())), folder)
            return int(pa.concat_tables([pq.read_table(path) for path in parts_of(folder)])["rows"][0].as_py())
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def write(self, query: str, path: Path, by_user: bool, metadata: Mapping[str, str]) -> int:
        """The parts are written beside the file they become."""
        folder = path.with_name(f"{path.name}.parts")
        try:
            self.backend.write_parquet(query, folder, USER_GROUP if by_user else None)
            return join_parts(self.backend._session, folder, path, metadata)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _coded(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from code_table(batch.column(0)).to_batches()
