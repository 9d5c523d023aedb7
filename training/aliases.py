"""The aliases of the registry, read and moved without importing MLflow: several at once, all of them or none.

MLflow's client takes two to five seconds to import and sets one alias at a time. In a home the registry is an SQLite
file of ours: one transaction on its table of aliases takes milliseconds, and whoever is killed in it has moved nothing.
Where the table is not the one we know, the client does it, one alias after the other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

from configs import Config
from configs.errors import RegistryError
from training.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, no_version

__all__ = ["WORKSPACE", "Moves", "Pointed", "aliases_of", "move", "registered", "run_of", "table"]

#: By model, by alias: the version it stands for from now on.
Moves = Mapping[str, Mapping[str, str]]
#: By model, by alias: the version it stands for.
Pointed = dict[str, dict[str, str]]

COLUMNS = {"alias", "version", "name", "workspace"}
WORKSPACE = "default"
WAIT_SECONDS = 30


def aliases_of(config: Config, models: Sequence[str]) -> Pointed:
    """What ``champion``, ``challenger`` and ``previous`` of each model stand for; absent where they do not."""
    found: Pointed = {model: {} for model in models}
    with table(config) as connection:
        if connection is None:
            registry = Registry(config) if registered(config) else None
            for model in models if registry else ():
                for alias in (CHAMPION, CHALLENGER, PREVIOUS):
                    if (version := registry.aliased(model, alias)) is not None:  # type: ignore[union-attr]
                        found[model][alias] = version
            return found
        query = "SELECT name, alias, version FROM registered_model_aliases WHERE workspace = ?"
        for model, alias, version in connection.execute(query, (WORKSPACE,)):
            if model in found:
                found[model][alias] = str(version)
    return found


def run_of(config: Config, model: str, version: str) -> str:
    """The id of the run that trained a version.

    Raises
    ------
    RegistryError
        When there is no such version.
    """
    with table(config) as connection:
        if connection is None:
            return Registry(config).version(model, version).run_id
        return _run(connection, model, version)


def move(config: Config, moves: Moves) -> None:
    """Let every alias stand for its version from now on, all at once.

    Raises
    ------
    RegistryError
        When a version does not exist; nothing has moved then.
    """
    with table(config) as connection:
        if connection is None:
            registry = Registry(config)
            for model, aliases in moves.items():
                for alias, version in aliases.items():
                    registry.alias(model, alias, version)
            return
        rows = [(alias, int(version), model) for model, many in moves.items() for alias, version in many.items()]
        connection.execute("BEGIN IMMEDIATE")
        try:
            for alias, number, model in rows:
                _run(connection, model, str(number))
                connection.execute(
                    "INSERT INTO registered_model_aliases (alias, version, name, workspace) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (workspace, name, alias) DO UPDATE SET version = excluded.version",
                    (alias, number, model, WORKSPACE),
                )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _run(connection: sqlite3.Connection, model: str, version: str) -> str:
    query = "SELECT run_id FROM model_versions WHERE workspace = ? AND name = ? AND version = ?"
    found = connection.execute(query, (WORKSPACE, model, int(version))).fetchone()
    if found is None:
        there = "SELECT version FROM model_versions WHERE workspace = ? AND name = ? ORDER BY version"
        numbers = [str(row[0]) for row in connection.execute(there, (WORKSPACE, model))]
        raise no_version(model, version, numbers)
    return str(found[0])


def registered(config: Config) -> bool:
    """Whether there is a registry yet."""
    return not config.tracking_uri.startswith("sqlite:///") or _file(config).exists()


def _file(config: Config) -> Path:
    return Path(config.tracking_uri.removeprefix("sqlite:///"))


@contextmanager
def table(
    config: Config, name: str = "registered_model_aliases", columns: Set[str] = COLUMNS
) -> Iterator[sqlite3.Connection | None]:
    """A connection without implicit transactions to the database of table ``name``, which has exactly ``columns``.

    None where MLflow itself must be asked.
    """
    if not config.tracking_uri.startswith("sqlite:///") or not _file(config).exists():
        yield None
        return
    connection = sqlite3.connect(_file(config), timeout=WAIT_SECONDS, isolation_level=None)
    try:
        found = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
        yield connection if found == columns else None
    except sqlite3.Error as error:
        raise RegistryError(f"the registry {_file(config)} cannot be used", got=str(error)) from None
    finally:
        connection.close()
