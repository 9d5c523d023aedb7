"""What a line must satisfy to become an event, as SQL over the columns of its input.

Each line is tried against the filters of its mapping, in their order, and then against these rules, in this order;
it is refused under the first that it breaks.

===================================  =====================================================================
``key_missing``                      nothing in any of the columns that ``dedup`` names
``<column>_unreadable``              the expression fails on this line, or does not fit the column's type
``user_id_missing``                  no user, or only blanks
``event_type_unknown``               not one of ``features.events.KINDS``
``event_at_missing``                 no instant
``event_at_before_1970``             nothing was recorded before, but clocks are reset to it
``event_at_in_future``               later than a day from now: time zones are forgiven, wrong years are not
``ingested_at_missing``              the mapping gives it, the line does not
``ingested_at_before_event``         learned more than a day before it happened; less is a clock gone wrong, and is
                                     raised to ``event_at``: knowing later than claimed can never leak
``ingested_at_in_future``            later than a day from now
``quantity_…``, ``amount_…``         ``_not_finite``, ``_negative`` or ``_too_large`` (over the limit of the mapping)
``props_not_object``                 not the text of a JSON object
===================================  =====================================================================
"""

from __future__ import annotations

import re

import duckdb

from configs.errors import ConfigError, SourceError
from features.events import COLUMNS, KINDS
from features.inputs import LINE, identifier, literal
from features.sources import Source, references

__all__ = ["MAPPED", "bind", "entry_of", "judged", "key_text", "sql_type"]

MAPPED = tuple(name for name in COLUMNS if name != "event_id")
KEYS = tuple(name for name in MAPPED if name.endswith("_id"))
_SQL_TYPES = {"string": "VARCHAR", "float64": "DOUBLE", "timestamp('UTC', 6)": "TIMESTAMPTZ"}


def bind(connection: duckdb.DuckDBPyConnection, expression: str, columns: dict[str, str], entry: str, file: str) -> str:
    """The type of an expression over these columns; errors name the file, the column and the mapping entry."""
    empty = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in columns.items())
    try:
        row = connection.execute(
            f"DESCRIBE SELECT try({{'v': ({expression}\n)}}) AS x FROM (SELECT {empty})"
        ).fetchone()
    except duckdb.Error as error:
        message = str(error).split("\n")[0]
        absent = re.search(r'Referenced column "(.*)" not found', message)
        if absent:
            because = "the export changed, or its delimiter or header is not what `read` says"
            raise SourceError(
                f"{file} has no column {absent[1]!r}", got=list(columns), because=because, run=f"change {entry}"
            ) from None
        raise ConfigError(f"{entry} does not fit {file}", got=expression, because=message) from None
    return str(row[1])[len("STRUCT(v ") : -1] if row else ""


def sql_type(column: str) -> str:
    """The DuckDB type of a column of the event tuple."""
    return _SQL_TYPES[COLUMNS[column]]


def judged(
    connection: duckdb.DuckDBPyConnection, source: Source, relation: str, columns: dict[str, str], file: str
) -> str:
    """A SELECT of one row per line: line, rule (null: accepted), value, raw, raw_hash, identity, and the event.

    ``identity`` hashes what makes it the same event when it is read again: the mapped line without ``ingested_at``,
    or the columns named under ``dedup``. Reads the variables ``known_at`` and ``latest`` of the session.
    """
    tried = []
    for name, expression in source.columns.items():
        if name == "ingested_at" and expression.strip() == "event_at":
            expression = source.columns["event_at"]
        kind = bind(connection, expression, columns, source.entry("columns", name), file)
        if name == "props" and kind.startswith(("STRUCT", "MAP")):
            expression = f"to_json({expression}\n)"
        cast = key_text(expression, kind) if name in KEYS else f"CAST(({expression}\n) AS {sql_type(name)})"
        tried.append(f"try({{'v': {cast}}}) AS {identifier('try ' + name)}")
    for name, expression in source.filters.items():
        bind(connection, expression, columns, source.entry("filters", name), file)
        tried.append(f"coalesce(try(CAST(({expression}\n) AS BOOLEAN)), false) AS {identifier('filter ' + name)}")
    if not isinstance(source.dedup, str):
        for name in source.dedup:
            bind(connection, identifier(name), columns, source.entry("dedup"), file)
    values = [f"{_value(source, name)} AS {_event(name)}" for name in MAPPED]
    rules = _rules(source)
    verdict = " ".join(f"WHEN {broken} THEN {literal(rule)}" for rule, broken in rules)
    shown = " ".join(f"WHEN {literal(rule)} THEN {_shown(source, rule, columns)}" for rule, _ in rules)
    raw = ", ".join(f"{literal(name)}, {_json(name, kind)}" for name, kind in columns.items())
    every = [_as_text(name) for name in columns]
    if isinstance(source.dedup, str):
        identity = _hash([_text(name) for name in MAPPED if name != "ingested_at"])
    else:
        identity = _hash([literal(source.name), *(_as_text(name) for name in source.dedup)])
    event = ", ".join(f"{_event(name)} AS {name}" for name in MAPPED if name != "ingested_at")
    return f"""
WITH tried AS (SELECT *, {", ".join(tried)} FROM {relation}),
valued AS (SELECT *, {", ".join(values)} FROM tried),
ruled AS (SELECT *, CASE {verdict} END AS "userops rule" FROM valued)
SELECT {identifier(LINE)} AS line, "userops rule" AS rule,
    CASE WHEN "userops rule" IS NOT NULL THEN CASE "userops rule" {shown} END END AS value,
    CASE WHEN "userops rule" IS NOT NULL THEN CAST(json_object({raw}) AS VARCHAR) END AS raw,
    {_hash(every) if source.dedup == "exact" else "CAST(NULL AS VARCHAR)"} AS raw_hash, {identity} AS identity,
    {event}, greatest({_event("ingested_at")}, {_event("event_at")}) AS ingested_at
FROM ruled"""


def key_text(expression: str, kind: str) -> str:
    """A key as text; 13085.0 is 13085, because tables with gaps hold whole numbers as floating-point ones."""
    text = f"CAST(({expression}\n) AS VARCHAR)"
    return f"regexp_replace({text}, '\\.0$', '')" if kind in ("DOUBLE", "FLOAT") else text


def entry_of(source: Source, rule: str) -> str:
    """The entry of the mapping to change when a rule refuses what it should not.

    Examples
    --------
    >>> from features.sources import load_source
    >>> entry_of(load_source("online_retail"), "event_at_in_future")
    'online_retail.yaml: columns.event_at'
    """
    if rule in source.filters:
        return source.entry("filters", rule)
    if rule == "key_missing":
        return source.entry("dedup")
    column = _column_of(rule)
    if column is None:
        return source.entry("read")
    return source.entry("limits" if rule.endswith("_too_large") else "columns", column)


def _column_of(rule: str) -> str | None:
    return next((name for name in MAPPED if rule.startswith(f"{name}_")), None)


def _as_text(name: str) -> str:
    """A column of the input as text."""
    return f"CAST({identifier(name)} AS VARCHAR)"


def _event(name: str) -> str:
    return identifier(f"event {name}")


def _value(source: Source, name: str) -> str:
    if name not in source.columns:
        return "getvariable('known_at')" if name == "ingested_at" else f"CAST(NULL AS {sql_type(name)})"
    value = f"{identifier('try ' + name)}.v"
    if COLUMNS[name] != "string":
        return value
    # Looking first is three times as fast as trimming every value.
    trimmed = f"CASE WHEN regexp_matches({value}, '^\\s|\\s$') THEN trim({value}, ' \t\r\n\f') ELSE {value} END"
    return f"nullif({trimmed}, '')"


def _rules(source: Source) -> list[tuple[str, str]]:
    """Each rule and when a line breaks it."""
    rules = [(name, f"NOT {identifier('filter ' + name)}") for name in source.filters]
    if not isinstance(source.dedup, str):
        rules.append(("key_missing", f"coalesce({', '.join(_as_text(name) for name in source.dedup)}) IS NULL"))
    rules += [(f"{name}_unreadable", f"{identifier('try ' + name)} IS NULL") for name in source.columns]
    event_at, ingested_at, props = _event("event_at"), _event("ingested_at"), _event("props")
    kinds = ", ".join(literal(kind) for kind in KINDS)
    rules += [
        ("user_id_missing", f"{_event('user_id')} IS NULL"),
        ("event_type_unknown", f"coalesce({_event('event_type')} NOT IN ({kinds}), true)"),
        ("event_at_missing", f"{event_at} IS NULL"),
        ("event_at_before_1970", f"{event_at} < TIMESTAMPTZ '1970-01-01 00:00:00+00'"),
        ("event_at_in_future", f"{event_at} > getvariable('latest')"),
    ]
    if "ingested_at" in source.columns:
        rules += [
            ("ingested_at_missing", f"{ingested_at} IS NULL"),
            ("ingested_at_before_event", f"{ingested_at} < {event_at} - INTERVAL 24 HOURS"),
            ("ingested_at_in_future", f"{ingested_at} > getvariable('latest')"),
        ]
    for name in ("quantity", "amount"):
        if name in source.columns:
            rules += [
                (f"{name}_not_finite", f"NOT isfinite({_event(name)})"),
                (f"{name}_negative", f"{_event(name)} < 0"),
                (f"{name}_too_large", f"{_event(name)} > {source.limits[name]!r}"),
            ]
    if "props" in source.columns:
        an_object = f"CASE WHEN json_valid({props}) THEN json_type({props}) = 'OBJECT' ELSE false END"
        rules.append(("props_not_object", f"{props} IS NOT NULL AND NOT {an_object}"))
    return rules


def _shown(source: Source, rule: str, columns: dict[str, str]) -> str:
    """The offending value as text: the input columns behind the rule, or the mapped value when there are none."""
    if rule == "key_missing":
        return literal(", ".join(f"{name}=NULL" for name in source.dedup))
    column = _column_of(rule)
    expression = source.filters[rule] if rule in source.filters else source.columns[str(column)]
    named = {name.lower() for name in references(expression)}
    if named == {"event_at"} and column == "ingested_at":
        named |= {name.lower() for name in references(source.columns["event_at"])}
    parts = [
        f"{literal(name + '=')} || coalesce({_as_text(name)}, 'NULL')" for name in columns if name.lower() in named
    ]
    if not parts:
        return f"coalesce(CAST({_event(str(column))} AS VARCHAR), 'NULL')" if column else literal(expression)
    return f"concat_ws(', ', {', '.join(parts)})"


def _json(name: str, kind: str) -> str:
    """JSON has no NaN and no infinity: they are kept as text."""
    if kind in ("DOUBLE", "FLOAT"):
        column = identifier(name)
        return f"CASE WHEN isfinite({column}) THEN to_json({column}) ELSE to_json(CAST({column} AS VARCHAR)) END"
    return identifier(name)


def _text(name: str) -> str:
    if COLUMNS[name].startswith("timestamp"):
        return f"CAST(epoch_us({_event(name)}) AS VARCHAR)"
    return _event(name) if COLUMNS[name] == "string" else f"CAST({_event(name)} AS VARCHAR)"


def _hash(texts: list[str]) -> str:
    """MD5 of the texts, kept apart by control characters that no export holds; NULL and '' differ."""
    return f"md5(concat_ws(chr(31), {', '.join(f'coalesce({text}, chr(30))' for text in texts)}))"
