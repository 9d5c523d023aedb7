"""The SQLAlchemy address ``sqlite+home:///FILE`` of Feast's registry: wherever ``Config.registry_uri`` says.

``feature_store.yaml`` is read by Feast alone, which expands ``${VARIABLES}`` but knows no default for one that is not
set, and takes relative files for relative to wherever the command was typed. So what stands there is a file in the home
folder of this installation, or, where ``registry:`` of project.yaml or ``USEROPS_REGISTRY`` names a PostgreSQL, that
one; its password comes into no configuration of Feast, nor into what Feast prints of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL, Dialect, make_url

from configs import load
from configs.databases import is_postgres, shown
from configs.errors import FeatureError
from configs.room import no_room

__all__ = ["ADDRESS", "HomePostgres", "HomeSqlite", "register", "told"]

ADDRESS = "sqlite+home:///registry.db"
CONNECT_SECONDS = "10"


class HomePostgres(PGDialect_psycopg):
    """PostgreSQL at ``Config.registry_uri``, whatever the address says."""

    driver = "home"
    supports_statement_cache = True

    def create_connect_args(self, url: URL) -> Any:
        """Where to connect."""
        given = make_url(load().registry_uri)
        timeout = {} if "connect_timeout" in given.query else {"connect_timeout": CONNECT_SECONDS}
        address = given.update_query_dict({**timeout, "application_name": "userops"})
        return super().create_connect_args(address)  # type: ignore[no-untyped-call]


class HomeSqlite(SQLiteDialect_pysqlite):
    """SQLite whose relative files lie in ``USEROPS_HOME``, or ``var`` when it is not set; or that PostgreSQL."""

    driver = "home"
    supports_statement_cache = True

    @classmethod
    def get_dialect_cls(cls, url: URL) -> type[Dialect]:
        """Which of the two it is today."""
        return HomePostgres if is_postgres(load().registry_uri) else cls

    def create_connect_args(self, url: URL) -> Any:
        """Where to connect; the folder is made when it is missing."""
        config = load()
        file = config.registry_uri.removeprefix("sqlite:///")
        config.home.mkdir(parents=True, exist_ok=True)
        return super().create_connect_args(url.set(database=file))


def register() -> None:
    """Make the address known to SQLAlchemy."""
    registry.register("sqlite.home", "features.home_registry", "HomeSqlite")


@contextmanager
def told(uri: str) -> Iterator[None]:
    """What goes wrong inside with the registry at ``uri`` as an error of ours, without its password."""
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise no_room(error) or FeatureError(
            f"Feast's registry {shown(uri)} cannot be used",
            got=str(getattr(error, "orig", None) or error).strip(),
            because="the database is not there, not ours to write, or locked by another program",
            run="it again, once USEROPS_REGISTRY names a database that this account may write",
        ) from None
