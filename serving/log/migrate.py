"""The schema of the log: made on first use, moved forward and back by Alembic, by one process at a time.

Alembic and SQLAlchemy are imported only when the database is not at ``HEAD``, so a worker that finds it there never
loads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import LogError
from serving.log.database import Database
from serving.log.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["HEAD", "ensure", "migrate", "version"]

HEAD = "0003"


def version(database: Database) -> str | None:
    """Which step the database is at; None when it holds no log."""
    if isinstance(database, SqliteDatabase):
        there = database.read("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
    else:
        there = database.read(
            "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'alembic_version'"
        )
    rows = database.read("SELECT version_num FROM alembic_version") if there else []
    return str(rows[0][0]) if rows else None


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
            run="that userops, and there: serving.log.migrate.migrate(database, to)",
        )
    migrate(database, HEAD)


def migrate(database: Database, to: str) -> None:
    """Move the schema to step ``to``, forward or back, in one transaction; ``"base"`` removes the log.

    Several processes may ask at once: the first moves it, the others wait and find it moved.
    """
    from alembic import command
    from alembic.config import Config

    steps = Config()
    steps.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    engine = _engine(database)
    try:
        with engine.begin() as connection:
            if not isinstance(database, SqliteDatabase):
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('userops schema'))")
            steps.attributes["connection"] = connection
            at = version(database)
            forward = to != "base" and (at is None or to >= at)
            (command.upgrade if forward else command.downgrade)(steps, to)
    finally:
        engine.dispose()


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
