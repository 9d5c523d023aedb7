"""The parts that workers wrote as one Parquet file: row groups are copied byte by byte, nothing is decoded.

One file per table and snapshot is what training, Feast, publication and DuckDB read, and what replaces an older one in
one step. The copy runs in the driver's JVM at the speed of the disk with a fixed buffer, however many rows there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

__all__ = ["join_parts", "parts_of"]


def parts_of(folder: Path) -> list[Path]:
    """The files of a folder that Spark wrote, in the order of their partitions, and of the files of one partition."""

    def place(path: Path) -> tuple[int, int]:
        counter = re.search(r"[.-]c(\d+)\.", path.name)  # part-00012-<id>.c003.zstd.parquet
        return int(path.name.split("-")[1]), int(counter[1]) if counter else 0

    return sorted(folder.glob("part-*.parquet"), key=place)


def join_parts(session: Any, folder: Path, path: Path, metadata: Mapping[str, str]) -> int:
    """Write ``path``, a new file, of all parts in ``folder``; the number of its rows.

    A part without rows adds no row group.
    """
    jvm = session._jvm
    parquet, io = jvm.org.apache.parquet.hadoop, jvm.org.apache.parquet.io

    def source(file: Path) -> Any:
        return io.LocalInputFile(jvm.java.io.File(str(file)).toPath())

    parts = parts_of(folder)
    reader = parquet.ParquetFileReader.open(source(parts[0]))
    try:
        schema = reader.getFileMetaData().getSchema()
    finally:
        reader.close()
    target = io.LocalOutputFile(jvm.java.io.File(str(path)).toPath())
    writer = parquet.ParquetFileWriter(target, schema, parquet.ParquetFileWriter.Mode.CREATE, 128 << 20, 0)
    writer.start()
    for part in parts:
        writer.appendFile(source(part))
    writer.end(dict(metadata))
    return int(pq.read_metadata(path).num_rows)
