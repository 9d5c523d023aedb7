"""Optional tables of attributes beside the events (`features.events.ENTITIES`); of one key the last row read wins."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from configs.errors import SourceError
from features.events import ENTITIES
from features.forgotten import Forgotten
from features.inputs import LINE, base_folder, find_inputs, identifier, literal, pieces
from features.ledger import Ledger
from features.rules import bind, key_text
from features.sources import EntityMapping, Source

__all__ = ["merge_entities"]

KEYS = {key for keys in ENTITIES.values() for key in keys}


def merge_entities(
    connection: duckdb.DuckDBPyConnection,
    ledger: Ledger,
    source: Source,
    data: Path,
    staged: Path,
    people: Forgotten | None = None,
) -> None:
    """Put the rows of this source over those of the same keys; a table whose file is absent is left as it is.

    Of ``people``, whom the session knows as those forgotten, no row is taken.
    """
    for name, mapping in source.entities.items():
        parts = _parts(connection, source, name, mapping, data, staged)
        if not parts:
            continue
        key = ", ".join(ENTITIES[name])
        absent = " OR ".join(f"{one} IS NULL" for one in ENTITIES[name])
        target = ledger.folder / "entities" / f"{name}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        new = f"read_parquet([{', '.join(literal(part) for part in parts)}], filename = true, union_by_name = true)"
        missing = connection.execute(f"SELECT min(line), count(*) FROM {new} WHERE {absent}").fetchall()[0]
        if missing[1]:
            raise SourceError(
                f"{name}: {missing[1]} lines without {key}, the first is line {missing[0]}",
                run=f"change {source.entry('entities', name, 'columns')}",
            )
        last = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY filename DESC, line DESC) = 1"
        query = f"SELECT * EXCLUDE (line, filename) FROM (SELECT * FROM {new} {last})"
        if target.exists():
            old = f"SELECT * FROM read_parquet({literal(target)}) AS old ANTI JOIN {new} AS new USING ({key})"
            query = f"{query} UNION ALL BY NAME {old}"
        if people is not None and people.digests and "user_id" in ENTITIES[name]:
            query = f"SELECT * FROM ({query}) WHERE NOT {people.sql('user_id')}"
        merged = staged / f"{name}.parquet"
        connection.execute(f"COPY (SELECT * FROM ({query}) ORDER BY {key}) TO {literal(merged)} (FORMAT parquet)")
        os.replace(merged, target)


def _parts(
    connection: duckdb.DuckDBPyConnection, source: Source, name: str, mapping: EntityMapping, data: Path, staged: Path
) -> list[Path]:
    """The mapped lines of every file of the table, as staged Parquet."""
    read = mapping.read or source.read
    where = source.entry("entities", name)
    place = data if mapping.read is None or read.kind == "sql" else base_folder(data)
    try:
        inputs = find_inputs(read, place, f"{where}.read")
    except SourceError:
        if mapping.read is None or read.kind == "sql":
            raise
        return []
    parts: list[Path] = []
    for one in inputs:
        for piece in pieces(connection, read, one, staged / "pieces", f"{where}.read"):
            if piece.refused:
                bad = piece.refused[0]
                raise SourceError(f"{one.name} line {bad.line}: {bad.rule}", got=bad.text, because=bad.value)
            columns = []
            for column, expression in mapping.columns.items():
                kind = bind(connection, expression, piece.columns, f"{where}.columns.{column}", one.name)
                value = f"({expression}\n)"
                if column in KEYS:
                    value = f"nullif(trim({key_text(expression, kind)}), '')"
                columns.append(f"{value} AS {identifier(column)}")
            part = staged / f"{name}-{len(parts):06d}.parquet"
            query = f"SELECT {', '.join(columns)}, {identifier(LINE)} AS line FROM {piece.relation}"
            try:
                connection.execute(f"COPY ({query}) TO {literal(part)} (FORMAT parquet)")
            except duckdb.Error as error:
                because = str(error).split("\n")[0]
                raise SourceError(f"{one.name} does not fit {where}", because=because) from None
            parts.append(part)
    return parts
