"""The files behind ``--data``, and each as tables that DuckDB can scan with a line number beside every line."""

from __future__ import annotations

import glob
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from configs.errors import SourceError
from features.csv_lines import Refused, csv_pieces
from features.csv_text import BLANKS, csv_header
from features.sources import Read

__all__ = ["LINE", "Input", "Piece", "base_folder", "digest", "find_inputs", "identifier", "literal", "pieces"]

LINE = "userops line"  # the column of line numbers; the blank keeps it apart from columns that people have
_DEFAULT_FILES = {"csv": "*.csv", "parquet": "*.parquet"}


@dataclass(frozen=True)
class Input:
    """One file, or all that a query reads: known by the digest of its bytes."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class Piece:
    """A part of an input: a FROM item with ``LINE`` and the input's own ``columns`` (name to DuckDB type)."""

    relation: str
    columns: dict[str, str]
    lines: int
    behind: float
    refused: list[Refused] = field(default_factory=list)


def literal(text: object) -> str:
    """A text as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def base_folder(data: Path) -> Path:
    """The folder in which the other files of a source lie."""
    if data.is_dir():
        return data
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), data.parts[:-1]))


def find_inputs(read: Read, data: Path, where: str) -> list[Input]:
    """The files to read, in the order of their names; ``where`` names the mapping entry that looks for them."""
    if read.kind == "sql":
        if not data.exists():
            raise SourceError(f"{data} does not exist", run=f"ls {base_folder(data)}")
        files = sorted(p for p in data.rglob("*") if p.is_file()) if data.is_dir() else [data]
        return [Input(data.name, data, digest(files))]
    if data.is_dir():
        pattern = read.files or _DEFAULT_FILES[read.kind]
        files = sorted(p for p in data.glob(pattern) if p.is_file())
        because = f"{where}.files looks for {pattern}"
    elif glob.has_magic(str(data)) and not data.exists():
        files = sorted(Path(p) for p in glob.glob(str(data), recursive=True) if Path(p).is_file())
        because = "no file matches"
    else:
        files = [data] if data.is_file() else []
        because = "the path is mistyped, or relative to another folder"
    if not files:
        raise SourceError(f"{data} holds nothing to read", because=because, run=f"ls {base_folder(data)}")
    base = base_folder(data)
    return [Input(str(p.relative_to(base)) if p.is_relative_to(base) else p.name, p, digest([p])) for p in files]


def digest(files: list[Path]) -> str:
    """SHA-256 of the bytes of the files, and of their order when there are several."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            part = hashlib.file_digest(stream, "sha256")
        if len(files) == 1:
            return part.hexdigest()
        whole.update(part.digest())
    return whole.hexdigest()


def pieces(connection: duckdb.DuckDBPyConnection, read: Read, one: Input, folder: Path, where: str) -> Iterator[Piece]:
    """The input a part at a time; a part is valid until the next one is asked for."""
    if read.kind == "csv":
        names, _ = csv_header(one.path, read, where)
        columns = dict.fromkeys(names, "VARCHAR")
        for piece, behind in csv_pieces(one.path, read, folder, where):
            yield Piece(_read_csv(piece.path, read, names), columns, piece.records, behind, piece.refused)
        return
    line = identifier(LINE)
    if read.kind == "parquet":
        if one.path.stat().st_size == 0:
            raise SourceError(f"{one.name} is empty", got="0 bytes", because="the export stopped before it began")
        scan = f"read_parquet({literal(one.path)}, file_row_number = true)"
        relation = f"(SELECT * EXCLUDE (file_row_number), file_row_number + 1 AS {line} FROM {scan})"
    else:
        _attach(connection, one)
        query = str(read.sql).replace("{data}", str(one.path).replace("'", "''"))
        relation = f"(SELECT *, row_number() OVER () AS {line} FROM (\n{query}\n))"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        row = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
    except duckdb.Error as error:
        because = str(error).split("\n")[0]
        raise SourceError(
            f"{one.name} cannot be read as {where} says", got=read.kind, because=because, expected="a readable file"
        ) from None
    columns = {name: kind for name, kind, *_ in described if name != LINE}
    yield Piece(relation, columns, row[0] if row else 0, 1.0)


def _attach(connection: duckdb.DuckDBPyConnection, one: Input) -> None:
    """A DuckDB database answers queries under the name ``data``."""
    if not one.path.is_file():
        return
    with one.path.open("rb") as stream:
        magic = stream.read(12)[8:]
    if magic != b"DUCK":
        return
    attached = connection.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = 'data'").fetchone()
    if not attached:
        connection.execute(f"ATTACH {literal(one.path)} AS data (READ_ONLY)")


def _read_csv(path: Path, read: Read, names: tuple[str, ...]) -> str:
    """What `csv_lines` wrote: the dialect is given in full, so nothing is guessed."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    nulls = ", ".join(literal(text) for text in ("", *read.nulls))
    blanks = read.delim == BLANKS
    delim, quote = ("\x1f", "") if blanks else (read.delim, read.quote)
    escape = (read.escape or quote) if quote else ""
    return (
        f"read_csv({literal(path)}, auto_detect = false, header = false, new_line = '\\n', delim = {literal(delim)}, "
        f"quote = {literal(quote)}, escape = {literal(escape)}, nullstr = [{nulls}], "
        f"columns = {{{literal(LINE)}: 'BIGINT', {columns}}})"
    )
