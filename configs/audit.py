"""Who promoted, rolled back, approved and rejected which version, when and on what evidence: a table that only grows.

Triggers in the database refuse to change or delete a row, and every row holds the digest of the one before, so that
whoever gets round the triggers is found out by `verify`. SQLite and PostgreSQL behind the same functions; it lies in
this room because training and serving both write it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import AuditError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

__all__ = ["ACTIONS", "Entry", "Row", "alone", "append", "append_unless", "entries", "verify"]

ACTIONS = (
    *("asked", "approved", "rejected"),  # a reviewer's word
    *("promoting", "promoted", "rolling_back", "rolled_back", "abandoned"),  # an intent, and what came of it
    "released",
    *("forget", "lift"),  # of a person: the version is a digest of the id
    *("key_issued", "key_revoked"),  # of a key: the version is its id; never its secret
)
FIRST = "sha256:0"
CONNECT_SECONDS = 10
WAIT_SECONDS = 30


@dataclass(frozen=True)
class Entry:
    """What somebody did to a version of a model; ``evidence`` is JSON."""

    who: str
    action: str
    model: str
    version: str
    run_id: str = ""
    comment: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row(Entry):
    """An entry as it stands in the table: ``at`` is an ISO instant in UTC, ``previous`` the digest of the row before.

    ``seq`` counts from 1 without a gap.
    """

    seq: int = 0
    at: str = ""
    previous: str = FIRST
    digest: str = ""

    def as_json(self) -> dict[str, Any]:
        """The row as JSON."""
        return asdict(self)


def append(uri: str, *entries: Entry) -> list[Row]:
    """Write the entries behind the last row, all of them or none, durably; return them as rows.

    ``at`` is the real time, whatever clock the data are asked at.

    Raises
    ------
    AuditError
        When the table cannot be written, or an action is not one of `ACTIONS`.
    """
    with _writing(uri) as (connection, table):
        return _append(connection, table, entries)


def append_unless(uri: str, entry: Entry, said: Callable[[list[Row]], Row | None]) -> tuple[Row, bool]:
    """Write the entry unless ``said`` finds it among the rows of its version, while nobody else writes.

    Returns the row, and whether it was written now.
    """
    with _writing(uri) as (connection, table):
        found = said(_select(connection, table, entry.model, entry.version))
        return (found, False) if found is not None else (_append(connection, table, [entry])[0], True)


def entries(uri: str, model: str | None = None, version: str | None = None, after: int = 0) -> list[Row]:
    """The rows, oldest first; of one model, of one version of it, behind row ``after``. What is not there is empty."""
    with _reading(uri) as (connection, table):
        return [] if connection is None else _select(connection, table, model, version, after)


def verify(uri: str) -> int:
    """How many rows there are, each of them as it was written and none missing between them.

    Rows cut off at the end leave an unbroken chain: whoever keeps a digest elsewhere looks for it in `entries`.

    Raises
    ------
    AuditError
        Naming the first row that was altered, or after which one is missing.
    """
    seq, previous = 0, FIRST
    with _reading(uri) as (connection, table):
        if connection is None:
            return 0
        for found in connection.execute(table.select().order_by(table.c.seq)).mappings():
            seq += 1
            own = _digest({name: value for name, value in found.items() if name != "digest"})
            if (found["seq"], found["previous"], found["digest"]) != (seq, previous, own):
                raise AuditError(
                    f"the audit table was tampered with at row {found['seq']}",
                    got={"seq": found["seq"], "previous": found["previous"], "digest": found["digest"]},
                    expected={"seq": seq, "previous": previous, "digest": own},
                    because="somebody changed, removed or inserted a row past the triggers",
                    run="userops audit, and restore the table from a backup",
                )
            previous = own
    return seq


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Nobody else is within, on whatever machine, while the table is in PostgreSQL; of a file, nobody is kept out.

    The lock dies with the connection, so with its process.
    """
    with ExitStack() as held:
        if _path(uri) is None:
            with _told(uri):
                engine = _engine(uri).execution_options(isolation_level="AUTOCOMMIT")
                connection = held.enter_context(engine.connect())
                connection.exec_driver_sql("SELECT pg_advisory_lock(hashtext('userops champions'))")
        yield


def _append(connection: Connection, table: Table, entries: Sequence[Entry]) -> list[Row]:
    for entry in entries:
        if entry.action not in ACTIONS:
            raise AuditError(f"{entry.action!r} is no action of the audit table", got=entry.action, expected=ACTIONS)
    last = connection.execute(table.select().order_by(table.c.seq.desc()).limit(1)).mappings().first()
    seq, previous = (last["seq"], last["digest"]) if last else (0, FIRST)
    written = []
    for number, entry in enumerate(entries, start=seq + 1):
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        values = {**asdict(entry), "evidence": _text(entry.evidence), "seq": number, "at": at, "previous": previous}
        previous = _digest(values)
        connection.execute(table.insert(), {**values, "digest": previous})
        written.append(_row({**values, "digest": previous}))
    return written


def _select(connection: Connection, table: Table, model: str | None, version: str | None, after: int = 0) -> list[Row]:
    query = table.select().where(table.c.seq > after).order_by(table.c.seq)
    query = query if model is None else query.where(table.c.model == model)
    query = query if version is None else query.where(table.c.version == version)
    return [_row(found) for found in connection.execute(query).mappings()]


def _text(evidence: Mapping[str, Any]) -> str:
    return json.dumps(evidence, sort_keys=True, ensure_ascii=False, default=str)


def _digest(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(dict(values), sort_keys=True, ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _row(found: Mapping[Any, Any]) -> Row:
    return Row(**{**found, "evidence": json.loads(found["evidence"])})


@contextmanager
def _reading(uri: str) -> Iterator[tuple[Connection | None, Table]]:
    """A connection, None where there is no table yet."""
    path = _path(uri)
    if path is not None and not path.exists():
        yield None, _table()
        return
    with _told(uri), _engine(uri).connect() as connection:
        there = _sqlalchemy().inspect(connection).has_table("audit")
        yield (connection if there else None), _table()


@contextmanager
def _writing(uri: str) -> Iterator[tuple[Connection, Table]]:
    """A transaction that no other writer interleaves; it makes the table when there is none."""
    path = _path(uri)
    if path is not None:
        with _told(uri):
            path.parent.mkdir(parents=True, exist_ok=True)
    with _told(uri), _engine(uri).execution_options(writing=True).begin() as connection:
        if path is None:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('userops audit'))")
        if not _sqlalchemy().inspect(connection).has_table("audit"):
            _table().create(connection)
            for statement in _GUARDS_SQLITE if path is not None else _GUARDS_POSTGRES:
                connection.exec_driver_sql(statement)
        yield connection, _table()


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Errors of the database as ours; the address may hold a password, so it is not told."""
    try:
        yield
    except (_sqlalchemy().exc.SQLAlchemyError, OSError, UnicodeEncodeError) as error:
        where = _path(uri) or "in PostgreSQL"
        told = str(getattr(error, "orig", None) or error).strip()
        raise AuditError(
            f"the audit table {where} cannot be used",
            got=told,
            because="the database is not there, not ours to write, or locked by another program",
            run="userops audit, once USEROPS_AUDIT names a database that this account may write",
        ) from None


def _sqlalchemy() -> Any:
    # A third of a second to import: only whoever reads or writes the table pays it.
    import sqlalchemy

    return sqlalchemy


def _path(uri: str) -> Path | None:
    """The file of an SQLite address; None for PostgreSQL."""
    kind, _, rest = uri.partition("://")
    if kind == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return Path(rest[1:])
    if kind in ("postgresql", "postgresql+psycopg", "postgres"):
        return None
    raise AuditError("the audit table cannot be kept there", got=kind, expected="sqlite:///PATH or postgresql://...")


@lru_cache(maxsize=8)
def _engine(uri: str) -> Engine:
    sqlalchemy = _sqlalchemy()
    path = _path(uri)
    if path is None:
        address = "postgresql+psycopg://" + uri.partition("://")[2]
        settings = {"connect_timeout": CONNECT_SECONDS, "application_name": "userops"}
        engine: Engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool, connect_args=settings)
        return engine
    engine = sqlalchemy.create_engine(
        f"sqlite:///{path}", poolclass=sqlalchemy.NullPool, connect_args={"timeout": WAIT_SECONDS}
    )

    sqlalchemy.event.listen(engine, "connect", _leave_transactions_alone)
    sqlalchemy.event.listen(engine, "begin", _begin)
    return engine


def _leave_transactions_alone(connection: Any, record: object) -> None:
    # Python's sqlite3 begins when the first row is written: after the last row was read, so too late.
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    # Whoever will write says so before he reads: two who read first would wait for each other.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writing") else "BEGIN")


@lru_cache(maxsize=1)
def _table() -> Table:
    sqlalchemy = _sqlalchemy()
    text = [sqlalchemy.Column(f.name, sqlalchemy.Text, nullable=False) for f in fields(Row) if f.name != "seq"]
    seq = sqlalchemy.Column("seq", sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    table: Table = sqlalchemy.Table("audit", sqlalchemy.MetaData(), seq, *text)
    return table


# INSERT OR REPLACE would delete without asking the trigger on DELETE: a number that was given is never given again.
_GUARDS_SQLITE: Sequence[str] = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit only grows'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit only grows'); END",
    "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN NEW.seq <= (SELECT COALESCE(MAX(seq), 0) FROM audit)"
    " BEGIN SELECT RAISE(ABORT, 'audit only grows'); END",
)
_GUARDS_POSTGRES: Sequence[str] = (
    "CREATE OR REPLACE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'audit only grows'; END $$",
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_only_grows()",
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows()",
)
