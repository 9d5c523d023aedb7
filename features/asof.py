"""Exact point-in-time joins whose cost grows with labels plus history, not with their product.

For a row asked at ``t`` a history answers with its newest row visible at ``t``:

* visible when ``timestamp <= t``; as known then, also when ``created <= t``; and as known at ``known_at``, also when
  ``created <= known_at`` (a row whose ``created`` is null was never known);
* newest by ``(timestamp, created)``; of rows equal in both, the last one written;
* nothing, when that row is older than the history's ttl: ``timestamp + ttl < t``. A ttl of zero never expires.

Every row asked comes back once, in its place, found or not. Instants are UTC in whole microseconds.

How: the history is read narrowly (keys and instants) and numbered from oldest to newest; its steps say "from instant
``v`` on, number ``n`` is the answer". As known then, ``v`` is the later of timestamp and created, and ``n`` the running
maximum. One ASOF join finds the step of every row asked; features are then read only for rows that answer somebody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from configs.errors import FeatureError

__all__ = ["History", "connect", "join", "parquet_files", "rows_between"]


@dataclass(frozen=True)
class History:
    """Rows in Parquet files, as a join needs them; ``features`` maps a column of the answer to its SQL."""

    files: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]  # (column in the files, column of the frame of rows asked)
    timestamp: str
    created: str | None = None
    ttl: timedelta | None = None
    features: Mapping[str, str] = field(default_factory=dict)


def connect(
    memory_limit: str | None = None, threads: int | None = None, spill: str | None = None
) -> duckdb.DuckDBPyConnection:
    """A fresh in-memory DuckDB that reads naive instants as UTC and joins ASOF by sorting."""
    connection = duckdb.connect()
    # Below this size DuckDB takes the product of both sides, and it takes any Arrow table for a small one.
    connection.execute("SET TimeZone = 'UTC'; SET asof_loop_join_threshold = 0")
    for setting, value in (("memory_limit", memory_limit), ("threads", threads), ("temp_directory", spill)):
        if value is not None:
            connection.execute(f"SET {setting} = {_text(str(value))}")
    return connection


def parquet_files(path: str | Path) -> tuple[str, ...]:
    """The Parquet files of a file, a folder or a pattern, sorted by name.

    The list is fixed before reading: a file that arrives between two reads must not renumber the others.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "*.parquet"
    found = tuple(str(file) for file in sorted(path.parent.glob(path.name)) if not file.name.startswith("."))
    if not found:
        raise FeatureError(f"no feature rows under {path}", got="no file", run="userops features build")
    return found


def join(
    connection: duckdb.DuckDBPyConnection,
    asked: pd.DataFrame,
    timestamp: str,
    histories: Sequence[History],
    *,
    as_known_then: bool = False,
    known_at: datetime | None = None,
) -> pa.Table:
    """``asked`` with the features of every history as of its ``timestamp``: the same rows in the same order."""
    answer = pa.Table.from_pandas(asked, preserve_index=False)
    keys = {column for history in histories for _, column in history.keys}
    narrow = {f"key {column}": answer[column] for column in sorted(keys)}
    at = answer[timestamp].cast(pa.timestamp("us", "UTC"), safe=False)
    columns: dict[str, Any] = {"row": pa.array(range(len(asked)), pa.int64()), "t": at, **narrow}
    connection.register("asked_arrow", pa.table(columns))
    connection.execute("CREATE OR REPLACE TEMP TABLE asked AS FROM asked_arrow")
    connection.unregister("asked_arrow")
    for history in histories:
        columns_of = _columns(connection, history, len(asked), as_known_then, known_at)
        for name, values in zip(history.features, columns_of, strict=True):
            if name in answer.column_names:
                raise FeatureError(f"column {name!r} is there already", got=answer.column_names, expected="new names")
            answer = answer.append_column(name, values)
    return answer


def _columns(
    connection: duckdb.DuckDBPyConnection, history: History, rows: int, as_known_then: bool, known_at: datetime | None
) -> list[Any]:
    _choose(connection, history, as_known_then, known_at)
    features = ", ".join(f"{sql} AS c{number}" for number, sql in enumerate(history.features.values()))
    # The instants must agree too: had a file been replaced meanwhile, its row numbers would mean other rows.
    found = connection.execute(
        f"""
        SELECT chosen.row, {features} FROM {_scan(history)} AS h
        JOIN chosen ON h.file_index = chosen.file AND h.file_row_number = chosen.file_row
                   AND {_instant("h", history.timestamp)} = chosen.at_
        """
    ).to_arrow_table()
    expected = connection.execute("SELECT count(*) FROM chosen").fetchall()[0][0]
    if found.num_rows != expected:
        raise FeatureError(
            "feature files changed while they were read", got=found.num_rows, expected=expected, run="it again"
        )
    places = np.full(rows, -1)
    places[found["row"].to_numpy()] = np.arange(found.num_rows)
    wanted = pa.array(places, mask=places < 0)
    return [found[f"c{number}"].take(wanted) for number in range(len(history.features))]


def _choose(
    connection: duckdb.DuckDBPyConnection, history: History, as_known_then: bool, known_at: datetime | None
) -> None:
    """Table ``chosen``: for each row asked, the place (file, row) of the row that answers it."""
    created = _instant("h", history.created) if history.created else "NULL::TIMESTAMPTZ"
    late = as_known_then and history.created is not None
    visible = f"greatest({_instant('h', history.timestamp)}, {created})" if late else _instant("h", history.timestamp)
    number_of = "max(n) OVER (PARTITION BY {keys} ORDER BY v RANGE UNBOUNDED PRECEDING)" if late else "max(n)"
    steps = [f"k{i}" for i in range(len(history.keys))]
    keys = ", ".join(steps)
    asked_keys = [f"asked.{_name('key ' + column)}" for _, column in history.keys]
    first, last = connection.execute("SELECT min(t), max(t) FROM asked").fetchall()[0]
    where, parameters = [f"{_instant('h', history.timestamp)} <= ?"], [last]
    if history.ttl:
        where.append(f"{_instant('h', history.timestamp)} >= ?::TIMESTAMPTZ - ?::INTERVAL")
        parameters += [first, history.ttl]
    if late:
        where.append(f"{created} IS NOT NULL")
    if known_at is not None and history.created:
        where.append(f"{created} <= ?")
        parameters.append(known_at)
    asked_too = " AND ".join(f"h.{_name(own)} = {key}" for (own, _), key in zip(history.keys, asked_keys, strict=True))
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE narrow AS
        SELECT {", ".join(f"h.{_name(own)} AS {step}" for (own, _), step in zip(history.keys, steps, strict=True))},
               {visible} AS v, {_instant("h", history.timestamp)} AS at_,
               h.file_index AS file, h.file_row_number AS file_row,
               row_number() OVER (ORDER BY {_instant("h", history.timestamp)}, {created} NULLS FIRST,
                                  h.file_index, h.file_row_number) AS n
        FROM {_scan(history)} AS h SEMI JOIN asked ON {asked_too}
        WHERE {" AND ".join(where)}
        """,
        parameters,
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE chosen AS
        WITH steps AS (SELECT {keys}, v, {number_of.format(keys=keys)} AS n FROM narrow
                       {"" if late else "GROUP BY ALL"})
        SELECT asked.row, narrow.file, narrow.file_row, narrow.at_
        FROM asked
        ASOF JOIN steps ON {" AND ".join(f"{a} = steps.{s}" for a, s in zip(asked_keys, steps, strict=True))}
                       AND asked.t >= steps.v
        JOIN narrow ON narrow.n = steps.n
        {"WHERE narrow.at_ + ?::INTERVAL >= asked.t" if history.ttl else ""}
        """,
        [history.ttl] if history.ttl else [],
    )


def rows_between(
    history: History, start: datetime | None, end: datetime | None, *, latest: bool, known_at: datetime | None = None
) -> tuple[str, list[object]]:
    """SQL (and its parameters) for every row with ``start <= timestamp <= end``, or the ``latest`` one of each key."""
    columns = [f"h.{_name(own)}" for own, _ in history.keys]
    columns += [f"{sql} AS {_name(name)}" for name, sql in history.features.items()]
    instants = [history.timestamp] + ([history.created] if history.created else [])
    columns += [f"{_instant('h', name)} AS {_name(name)}" for name in instants]
    where, parameters = ["true"], list[object]()
    for compare, bound in ((">=", start), ("<=", end)):
        if bound is not None:
            where.append(f"{_instant('h', history.timestamp)} {compare} ?")
            parameters.append(bound)
    if known_at is not None and history.created:
        where.append(f"{_instant('h', history.created)} <= ?")
        parameters.append(known_at)
    newest = ", ".join(f"{_instant('h', name)} DESC NULLS LAST" for name in instants)
    keys = ", ".join(f"h.{_name(own)}" for own, _ in history.keys)
    only = (
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {newest}, file_index DESC, file_row_number DESC) = 1"
    )
    sql = f"SELECT {', '.join(columns)} FROM {_scan(history)} AS h WHERE {' AND '.join(where)} {only if latest else ''}"
    return sql, parameters


def _scan(history: History) -> str:
    return f"read_parquet([{', '.join(map(_text, history.files))}], union_by_name = true)"


def _instant(table: str, column: str) -> str:
    """A column as UTC microseconds: Parquet may hold nanoseconds, or no zone."""
    return f"{table}.{_name(column)}::TIMESTAMPTZ"


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
