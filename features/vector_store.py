"""Feast's face of the online store file: what `features.online` wrote, Feast reads, and the other way round.

Beyond Feast's SQLite store: WAL and one transaction per batch, no older row over a newer one, instants that mean the
same in every time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.Value_pb2 import Value

from configs import load
from features import home_registry
from features.online import OnlineReader, create, drop, publication, upsert

__all__ = ["VectorOnlineStore", "VectorOnlineStoreConfig"]

# Feast reads feature_store.yaml's online store before it opens the registry, whose address needs this.
home_registry.register()


class VectorOnlineStoreConfig(SqliteOnlineStoreConfig):  # type: ignore[misc]
    """The ``online_store`` block of ``feature_store.yaml``; a relative ``path`` lies in the home folder."""

    type: Literal["features.vector_store.VectorOnlineStore"] = "features.vector_store.VectorOnlineStore"
    path: str = "online.db"


class VectorOnlineStore(SqliteOnlineStore):  # type: ignore[misc]
    """Feast's SQLite store with the reads, writes and tables of `features.online`."""

    _reader: OnlineReader | None = None

    @staticmethod
    def _get_db_path(config: Any) -> str:
        path = Path(config.online_store.path)
        return str(path if path.is_absolute() else load().home / path)

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: Sequence[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write the rows that are not older than what is there, all or none."""
        rows = (
            (_key(config, key), feature, value.SerializeToString(), _epoch(at), None if made is None else _epoch(made))
            for key, values, at, made in data
            for feature, value in values.items()
        )
        with publication(Path(self._get_db_path(config))) as connection:
            upsert(connection, _table(config, table), rows)
        if progress:
            progress(len(data))

    def online_read(
        self, config: Any, table: Any, entity_keys: Sequence[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Each entity's newest event timestamp and values, or ``(None, None)``; all from one state of the store."""
        if self._reader is None:
            self._reader = OnlineReader(Path(self._get_db_path(config)))
        keys = [_key(config, key) for key in entity_keys]
        rows = sorted(self._reader.read(_table(config, table), list(dict.fromkeys(keys))), key=itemgetter(0))
        found: dict[bytes, tuple[datetime, dict[str, Any]]] = {}
        for key, group in groupby(rows, key=itemgetter(0)):
            values, newest = {}, 0
            for _, feature, value, at in group:
                values[feature] = Value.FromString(value)
                newest = max(newest, at)
            found[key] = (datetime.fromtimestamp(newest, UTC), values)
        return [found.get(key, (None, None)) for key in keys]

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Exactly the tables of ``tables_to_keep``, of those two lists."""
        with publication(Path(self._get_db_path(config))) as connection:
            for table in tables_to_keep:
                create(connection, _table(config, table))
            for table in tables_to_delete:
                drop(connection, _table(config, table))

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """No online store any more."""
        for suffix in ("", "-wal", "-shm"):
            Path(self._get_db_path(config) + suffix).unlink(missing_ok=True)


def _key(config: Any, key: Any) -> bytes:
    serialized: bytes = serialize_entity_key(key, config.entity_key_serialization_version)
    return serialized


def _table(config: Any, view: Any) -> str:
    return str(compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning))


def _epoch(instant: datetime) -> int:
    """Whole seconds since 1970 UTC; Feast hands over naive instants that mean UTC."""
    aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
    return int(aware.timestamp() // 1)
