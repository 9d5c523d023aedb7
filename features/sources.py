"""A source: the mapping, in YAML, that turns the lines of any table into events.

::

    about: The till of the shop, one line per article.    # free text
    read: {kind: csv, delim: ";", files: "*.csv"}          # csv | parquet | sql, and how
    timezone: Asia/Shanghai                                # of instants that do not say it; default UTC
    columns:                                               # column of the event tuple: DuckDB expression
      user_id: Customer
      event_type: "'purchase'"
      event_at: strptime(Date, '%d.%m.%Y %H:%M')
      amount: CAST(Price AS DOUBLE) * CAST(Pieces AS DOUBLE)
      ingested_at: event_at                                # default: the moment of ingestion
    filters: {price_positive: CAST(Price AS DOUBLE) > 0}   # a line that fails one is refused under its name
    dedup: exact                                           # exact | none | [columns that identify a line]
    limits: {amount: 100000}                               # default 1e9 each for amount and quantity
    entities:                                              # optional tables beside the events
      users: {read: {kind: csv, files: users.csv}, columns: {user_id: id, city: City}}

``dedup: exact`` drops lines that are equal in every column; ``none`` takes equal lines of one file for distinct events
and counts them; a list of input columns says which of them identify a line, and the first one read wins.
A source is known by its name (the file's, or ``name:``). Columns of a CSV are text: cast what you calculate with.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from configs import build, configs_folder, read_yaml
from configs.errors import ConfigError
from features.events import COLUMNS, ENTITIES

__all__ = ["EntityMapping", "Read", "Source", "load_source", "references"]

REQUIRED = ("user_id", "event_type", "event_at")
_OUR_ENDINGS = (
    *("_unreadable", "_missing", "_unknown", "_before_1970", "_before_event", "_in_future"),
    *("_not_finite", "_negative", "_too_large", "_not_object"),
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


@dataclass(frozen=True)
class Read:
    """How the bytes become a table: CSV with its dialect, Parquet, or a query over ``{data}``.

    ``files`` is the pattern looked for when the data is a folder. ``delim: whitespace`` is for columns padded with
    blanks. ``header: false`` needs ``names``. ``skip`` lines stand before the header. ``nulls`` are texts that mean
    nothing, besides the empty one.
    """

    kind: str
    files: str | None = None
    sql: str | None = None
    delim: str = ","
    quote: str = '"'
    escape: str = '"'
    header: bool = True
    names: tuple[str, ...] = ()
    skip: int = 0
    encoding: str = "utf-8"
    nulls: tuple[str, ...] = ()


@dataclass(frozen=True)
class EntityMapping:
    """One table of attributes: expressions over the lines of ``read``, by default the lines of the events."""

    columns: dict[str, str]
    read: Read | None = None


@dataclass(frozen=True)
class Source:
    """A checked mapping; ``file`` is the YAML it came from, for messages."""

    name: str
    file: str
    read: Read
    columns: dict[str, str]
    dedup: str | tuple[str, ...]
    about: str = ""
    timezone: str = "UTC"
    filters: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    entities: dict[str, EntityMapping] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Digest of all that decides which event a line is: another one gives old lines new ids."""
        read = {**asdict(self.read), "files": None}
        return _digest([read, self.columns, self.dedup, self.timezone])

    @property
    def digest(self) -> str:
        """Digest of all that decides what becomes of a line, refusal included."""
        return _digest([self.identity, self.filters, self.limits])

    def entry(self, *keys: str) -> str:
        """How messages name one entry of the mapping: the file and the way down."""
        return f"{self.file}: {'.'.join(keys)}"


def load_source(source: str | Path) -> Source:
    """The mapping of that name in ``configs/sources``, or the one in a file of yours.

    Examples
    --------
    >>> load_source("online_retail").dedup
    'exact'
    """
    folder = configs_folder() / "sources"
    path = Path(source)
    if not (isinstance(source, Path) or path.suffix in {".yaml", ".yml"} or len(path.parts) > 1):
        path = folder / f"{source}.yaml"
        if not path.exists():
            known = sorted(p.stem for p in folder.glob("*.yaml"))
            raise ConfigError("no such source", got=source, expected=f"one of {known}, or the path of a mapping")
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")
    content = {"name": name, **read_yaml(path), "file": path.name}
    for key in ("columns", "read"):
        if not isinstance(content.get(key), dict):
            raise ConfigError(f"{path.name}: {key}", got=content.get(key), expected="a mapping")
    content["read"] = _read(content["read"], f"{path.name}: read")
    content["columns"] = _expressions(content["columns"], f"{path.name}: columns")
    content["filters"] = _expressions(content.get("filters") or {}, f"{path.name}: filters")
    content["limits"] = _limits(content.get("limits") or {}, f"{path.name}: limits")
    content["entities"] = _entities(content.get("entities") or {}, f"{path.name}: entities")
    content["dedup"] = _dedup(content.get("dedup"), f"{path.name}: dedup")
    checked = build(Source, content, path.name)
    _check(checked)
    return checked


def references(expression: str) -> list[str]:
    """The columns that an expression names, in order; a name bound by a lambda counts too.

    Examples
    --------
    >>> references('"Customer ID" || lower(Country)')
    ['Customer ID', 'Country']
    """
    names: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("class") == "COLUMN_REF":
                names.extend(name for name in node["column_names"] if name not in names)
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(_parsed(f"SELECT ({expression}\n)"))
    return names


def _check(source: Source) -> None:
    if not isinstance(source.name, str) or not _NAME.fullmatch(source.name):
        raise ConfigError(f"{source.file}: name", got=source.name, expected="lower-case letters, digits, underscores")
    mappable = [name for name in COLUMNS if name != "event_id"]
    for name in source.columns:
        if name not in mappable:
            raise ConfigError(f"{source.entry('columns')}: unknown column {name!r}", got=name, expected=mappable)
    missing = [name for name in REQUIRED if name not in source.columns]
    if missing:
        raise ConfigError(
            f"{source.entry('columns')}: missing {missing[0]!r}", got=list(source.columns), expected=missing
        )
    for name in source.filters:
        if not _NAME.fullmatch(name):
            raise ConfigError(source.entry("filters", name), got=name, expected="lower-case letters, digits, _")
        if name.endswith(_OUR_ENDINGS) and name.startswith((*(f"{column}_" for column in COLUMNS), "key_")):
            raise ConfigError(source.entry("filters", name), got=name, expected="not the name of a rule of ours")
    try:
        ZoneInfo(source.timezone)
    except (KeyError, ValueError, TypeError, OSError):
        raise ConfigError(source.entry("timezone"), got=source.timezone, expected="as in Europe/London") from None


def _read(content: Any, where: str) -> Read:
    if not isinstance(content, dict):
        raise ConfigError(where, got=content, expected="kind: csv | parquet | sql")
    if content.get("kind") not in ("csv", "parquet", "sql"):
        raise ConfigError(f"{where}.kind", got=content.get("kind"), expected="csv, parquet or sql")
    for key in ("names", "nulls"):
        value = content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{where}.{key}", got=value, expected="a list of texts")
    read = build(Read, {**content, **{key: tuple(content.get(key, ())) for key in ("names", "nulls")}}, where)
    others = {"csv": {"sql"}, "parquet": set(content) - {"kind", "files"}, "sql": set(content) - {"kind", "sql"}}
    foreign = sorted(others[read.kind] & set(content))
    if foreign:
        raise ConfigError(f"{where}: {foreign[0]!r} means nothing to kind {read.kind}", got=foreign)
    if read.kind == "sql":
        if not isinstance(read.sql, str) or not re.search(r"\{data\}|\bdata\.", read.sql):
            expected = "a SELECT from '{data}', from files in it, or from tables data.x of a DuckDB database"
            raise ConfigError(f"{where}.sql", got=read.sql, expected=expected)
        error = _parsed(read.sql).get("error_message")
        if error:
            raise ConfigError(f"{where}.sql is not one SELECT", got=error)
    for key in ("delim", "quote", "escape"):
        value = getattr(read, key)
        if not (isinstance(value, str) and (len(value.encode()) == 1 or (key, value) == ("delim", "whitespace"))):
            if key == "quote" and value == "":
                continue  # no quotes in this dialect
            raise ConfigError(f"{where}.{key}", got=value, expected="one ASCII character")
    if read.kind == "csv" and bool(read.names) == read.header:
        raise ConfigError(
            f"{where}.names", got=read.names, expected="names of columns when, and only when, header: false"
        )
    try:
        "".encode(read.encoding)
    except (LookupError, TypeError):
        raise ConfigError(f"{where}.encoding", got=read.encoding, expected="as in utf-8, latin-1, gb18030") from None
    return read


def _expressions(content: Any, where: str) -> dict[str, str]:
    """Each entry as the text of one scalar expression."""
    if not isinstance(content, dict):
        raise ConfigError(where, got=content, expected="name: expression lines")
    checked = {}
    for name, value in content.items():
        if value is None or isinstance(value, (dict, list, bool)):
            raise ConfigError(f"{where}.{name}", got=value, expected="an expression over the columns of the input")
        # The newline keeps a trailing -- comment from eating the bracket.
        tree = _parsed(f"SELECT ({value}\n)")
        error = tree.get("error_message")
        node = tree["statements"][0]["node"] if not error else {}
        alone = len(tree.get("statements", [])) == 1 and len(node.get("select_list", [])) == 1
        if error or not alone or node["from_table"]["type"] != "EMPTY":
            raise ConfigError(f"{where}.{name} is not one expression", got=value, because=error)
        checked[str(name)] = str(value)
    return checked


def _limits(content: Any, where: str) -> dict[str, float]:
    if not isinstance(content, dict) or not set(content) <= {"amount", "quantity"}:
        raise ConfigError(where, got=content, expected="amount and quantity, each a number")
    limits = {"amount": 1e9, "quantity": 1e9}
    for name, value in content.items():
        try:
            limits[name] = float(value)  # YAML takes 1e9 for a text
        except (TypeError, ValueError):
            limits[name] = 0.0
        if not limits[name] > 0:
            raise ConfigError(f"{where}.{name}", got=value, expected="a positive number")
    return limits


def _entities(content: Any, where: str) -> dict[str, EntityMapping]:
    if not isinstance(content, dict) or not set(content) <= set(ENTITIES):
        raise ConfigError(where, got=content, expected=sorted(ENTITIES))
    checked = {}
    for name, entry in content.items():
        entity = build(EntityMapping, entry if isinstance(entry, dict) else {}, f"{where}.{name}")
        columns = _expressions(entity.columns, f"{where}.{name}.columns")
        if not set(ENTITIES[name]) <= set(columns):
            raise ConfigError(
                f"{where}.{name}.columns", got=sorted(columns), expected=f"the key {', '.join(ENTITIES[name])}"
            )
        read = _read(entity.read, f"{where}.{name}.read") if entity.read is not None else None
        checked[name] = EntityMapping(columns=columns, read=read)
    return checked


def _dedup(content: Any, where: str) -> str | tuple[str, ...]:
    if isinstance(content, list) and content and all(isinstance(item, str) for item in content):
        return tuple(content)
    if content in ("exact", "none"):
        return str(content)
    raise ConfigError(where, got=content, expected="exact, none, or a list of columns of the input")


def _parsed(sql: str) -> dict[str, Any]:
    with _parser().cursor() as cursor:
        row = cursor.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {}
    return tree if isinstance(tree, dict) else {}


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return "sha256:" + hashlib.sha256(re.sub(r"(?:\\n|\s)+", " ", text).encode()).hexdigest()
