"""The schema of the log: made on first use, moved forward and back by Alembic, by one process at a time.

Alembic and SQLAlchemy are imported only when the database is not at ``HEAD``, so a worker that finds it there never
loads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from configs.databases import shown
from configs.errors import LogError
from serving.log.database import Database
from serving.log.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

__all__ = ["BASE", "HEAD", "Step", "ensure", "migrate", "steps", "version"]

HEAD = "0006"
BASE = "base"  # no log at all
VERSIONS = "alembic_version"


class Step(NamedTuple):
    """One step of the schema: its number, what it changes, in a sentence, and columns that go back without a loss."""

    version: str
    about: str
    folded: tuple[str, ...] = ()


def steps() -> list[Step]:
    """All of them, in order."""
    from alembic.script import ScriptDirectory

    found = ScriptDirectory.from_config(_alembic()).walk_revisions()
    return [
        Step(one.revision, (one.doc or "").partition("\n")[0], tuple(getattr(one.module, "FOLDED", ())))
        for one in reversed(list(found))
    ]


def version(database: Database) -> str | None:
    """Which step the database is at; None when it holds no log.

    Raises
    ------
    LogError
        When it holds the tables of another program.
    """
    if isinstance(database, SqliteDatabase):
        there = database.read(f"SELECT 1 FROM sqlite_master WHERE name = '{VERSIONS}'")
    else:
        sql = f"SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = '{VERSIONS}'"
        there = database.read(sql)
    rows = database.read(f"SELECT version_num FROM {VERSIONS}") if there else []
    at = str(rows[0][0]) if rows else None
    if at is not None and not (len(at) == len(HEAD) and at.isdecimal()):
        raise LogError(
            f"{shown(database.uri)} holds the tables of another program",
            got=f"schema {at}",
            because="MLflow and others keep the number of their schema under the same name",
            run="it with a database, or a schema, of its own: ...?options=-csearch_path%3DNAME",
        )
    return at


def ensure(database: Database) -> None:
    """Bring the database to `HEAD`; one that a newer userops wrote is left alone."""
    at = version(database)
    if at == HEAD:
        return
    if at is not None and at > HEAD:
        raise LogError(
            "the decision log was written by a newer userops",
            got=f"schema {at}",
            expected=f"schema {HEAD} or older",
            run=f"the userops that wrote it, there: userops decisions migrate --to {HEAD}",
        )
    migrate(database, HEAD)


def migrate(database: Database, to: str, *, drop: bool = False) -> dict[str, int]:
    """Move the schema to step ``to``, forward or back, in one transaction; `BASE` removes the log.

    Several processes may ask at once: the first moves it, the others wait and find it moved. Returns what went with
    the steps back: rows by table, or values by ``table.column``.

    Raises
    ------
    LogError
        When ``to`` is no step, or something would go and ``drop`` is not set; nothing has changed then.
    """
    known = steps()
    if to not in (BASE, *(step.version for step in known)):
        names = ", ".join((BASE, *(step.version for step in known)))
        raise LogError("the schema has no such step", got=to, expected=names)
    from alembic import command
    from sqlalchemy.exc import SQLAlchemyError

    asked = _alembic()
    engine = _engine(database)
    try:
        with engine.begin() as connection:
            if not isinstance(database, SqliteDatabase):
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('userops schema'))")
            asked.attributes["connection"] = connection
            at = version(database)
            if to != BASE and (at is None or to >= at):
                command.upgrade(asked, to)
                return {}
            before = _content(connection)
            command.downgrade(asked, to)
            after = [*_content(connection), *(name for step in known for name in step.folded)]
            # Of a table that goes, its rows are told, not every column besides.
            gone = {
                name: count
                for name, count in before.items()
                if count and name not in after and (name.partition(".")[0] in after or "." not in name)
            }
            if gone and not drop:
                raise LogError(
                    f"going back from {at} to {to} would drop what is there",
                    got=", ".join(f"{name}: {count:,}" for name, count in gone.items()),
                    expected="nothing to drop",
                    run=f"userops decisions export FILE, and then userops decisions migrate --to {to} --drop",
                )
            return gone
    except SQLAlchemyError as error:
        told = str(getattr(error, "orig", None) or error).strip()
        raise LogError(f"the decision log {shown(database.uri)} cannot be moved", got=told) from None
    finally:
        engine.dispose()


def _content(connection: Connection) -> dict[str, int]:
    """Rows by table; of a table that has some, values by column."""
    import sqlalchemy

    found: dict[str, int] = {}
    there = sqlalchemy.inspect(connection)
    for name in sorted(there.get_table_names()):
        if name in (VERSIONS, "salts"):  # a salt without a list of digests is nothing
            continue
        table = sqlalchemy.Table(name, sqlalchemy.MetaData(), autoload_with=connection)
        counts = [sqlalchemy.func.count(), *(sqlalchemy.func.count(column) for column in table.columns)]
        rows, *values = connection.execute(sqlalchemy.select(*counts).select_from(table)).one()
        found[name] = rows
        found |= {f"{name}.{column.name}": count for column, count in zip(table.columns, values, strict=True)}
    return found


def _alembic() -> Config:
    from alembic.config import Config

    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return found


def _engine(database: Database) -> Engine:
    import sqlalchemy

    if not isinstance(database, SqliteDatabase):
        address = "postgresql+psycopg://" + database.uri.partition("://")[2]
        return sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    connect = database.connection  # in WAL mode, and waiting for its turn
    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.NullPool)
    # Python's sqlite3 commits before it changes a schema, unless it is told to keep out of transactions.
    sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine
