"""Tags of registered versions, of many at once and, where the registry is a file of ours, without importing MLflow."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from configs import Config
from configs.errors import RegistryError
from training.aliases import WORKSPACE, registered, table
from training.registry import Registry

__all__ = ["Tags", "set_tags", "tags_of"]

#: By model and version: tags by name.
Tags = dict[tuple[str, str], dict[str, str]]

COLUMNS = {"key", "value", "name", "version", "workspace"}
TABLE = "model_version_tags"


def tags_of(config: Config, versions: Sequence[tuple[str, str]]) -> Tags:
    """The tags of each of the versions that there are; one that is not registered is left out."""
    if not registered(config):
        return {}
    with table(config, TABLE, COLUMNS) as connection:
        if connection is None:
            return _asked(Registry(config), versions)
        return {
            (model, version): {
                key: value or ""
                for key, value in connection.execute(
                    f"SELECT key, value FROM {TABLE} WHERE workspace = ? AND name = ? AND version = ?",
                    (WORKSPACE, model, int(version)),
                )
            }
            for model, version in versions
            if _exists(connection, model, version)
        }


def set_tags(config: Config, tags: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
    """Set tags of versions, all of them or none; one that is set already is overwritten.

    Raises
    ------
    RegistryError
        When a version does not exist.
    """
    if not tags:
        return
    with table(config, TABLE, COLUMNS) as connection:
        if connection is None:
            registry = Registry(config)
            for (model, version), own in tags.items():
                registry.set_version_tags(model, version, own)
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            for (model, version), own in tags.items():
                if not _exists(connection, model, version):
                    raise RegistryError(f"{model} has no version {version!r}", run=f"userops train {model}")
                for key, value in own.items():
                    connection.execute(
                        f"INSERT INTO {TABLE} (key, value, name, version, workspace) VALUES (?, ?, ?, ?, ?)"
                        " ON CONFLICT (workspace, key, name, version) DO UPDATE SET value = excluded.value",
                        (key, value, model, int(version), WORKSPACE),
                    )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _asked(registry: Registry, versions: Sequence[tuple[str, str]]) -> Tags:
    found: Tags = {}
    for model, version in versions:
        try:
            found[model, version] = dict(registry.version(model, version).tags)
        except RegistryError:
            continue
    return found


def _exists(connection: sqlite3.Connection, model: str, version: str) -> bool:
    query = "SELECT 1 FROM model_versions WHERE workspace = ? AND name = ? AND version = ?"
    return version.isdecimal() and connection.execute(query, (WORKSPACE, model, int(version))).fetchone() is not None
