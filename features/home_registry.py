"""The SQLAlchemy address ``sqlite+home:///FILE``: an SQLite file in the home folder of this installation.

``feature_store.yaml`` is read by Feast alone, which expands ``${VARIABLES}`` but knows no default for one that is not
set, and takes relative files for relative to wherever the command was typed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL

from configs import load

__all__ = ["HomeSqlite", "register"]


class HomeSqlite(SQLiteDialect_pysqlite):
    """SQLite whose relative files lie in ``USEROPS_HOME``, or ``var`` when it is not set."""

    driver = "home"
    supports_statement_cache = True

    def create_connect_args(self, url: URL) -> Any:
        """Where to connect; the folder is made when it is missing."""
        home = load().home
        home.mkdir(parents=True, exist_ok=True)
        return super().create_connect_args(url.set(database=str(home / (url.database or "registry.db"))))


def register() -> None:
    """Make the address known to SQLAlchemy."""
    registry.register("sqlite.home", "features.home_registry", "HomeSqlite")
