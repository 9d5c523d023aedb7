"""Feast's face of the online store: what `features.online` wrote, Feast reads, and the other way round.

Beyond Feast's own stores: no older row over a newer one and a correction of the same instant wins, all cells of a user
at once, instants that mean the same in every time zone; and no password of a Redis in Feast's configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.Value_pb2 import Value

from configs import load
from features import home_registry
from features.online import Cell, OnlineStore, Row, SqliteStore, open_store

__all__ = ["VectorOnlineStore", "VectorOnlineStoreConfig"]

# Feast reads feature_store.yaml's online store before it opens the registry, whose address needs this.
home_registry.register()


class VectorOnlineStoreConfig(SqliteOnlineStoreConfig):  # type: ignore[misc]
    """The ``online_store`` block of ``feature_store.yaml``; a relative ``path`` means ``Config.online_uri``."""

    type: Literal["features.vector_store.VectorOnlineStore"] = "features.vector_store.VectorOnlineStore"
    path: str = "online.db"


class VectorOnlineStore(SqliteOnlineStore):  # type: ignore[misc]
    """Feast's store with the reads, writes and tables of `features.online`."""

    _opened: OnlineStore | None = None

    @staticmethod
    def _get_db_path(config: Any) -> str:
        path = Path(config.online_store.path)
        return str(path if path.is_absolute() else load().home / path)

    def _store(self, config: Any) -> OnlineStore:
        if self._opened is None:
            absolute = Path(config.online_store.path).is_absolute()
            self._opened = SqliteStore(Path(self._get_db_path(config))) if absolute else open_store(load().online_uri)
        return self._opened

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: Sequence[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write the rows that are not older than what is there, all of one entity or none."""
        view, rows = _view(config, table), dict[Cell, list[Row]]()
        for key, values, at, made in data:
            instants = (_epoch(at), None if made is None else _epoch(made))
            for feature, value in values.items():
                row = (_key(config, key), value.SerializeToString(), *instants)
                rows.setdefault(Cell(view, feature), []).append(row)
        with self._store(config).publication() as writer:
            writer.write(rows)
        if progress:
            progress(len(data))

    def online_read(
        self, config: Any, table: Any, entity_keys: Sequence[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Each entity's newest event timestamp and values, or ``(None, None)``; of one from one state of it."""
        view, features = _view(config, table), requested_features or [feature.name for feature in table.features]
        cells = [Cell(view, feature) for feature in features]
        rows = self._store(config).read([_key(config, key) for key in entity_keys], cells)
        return [_values(features, row) for row in rows]

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
        with self._store(config).publication() as writer:
            for table in tables_to_keep:
                writer.create(_view(config, table))
            for table in tables_to_delete:
                writer.drop(_view(config, table), [feature.name for feature in table.features])

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """No online store any more."""
        self._store(config).erase()


def _values(features: Sequence[str], row: Sequence[tuple[bytes, int] | None]) -> tuple[Any, Any]:
    found = {name: cell for name, cell in zip(features, row, strict=True) if cell is not None}
    if not found:
        return None, None
    newest = max(at for _, at in found.values())
    return datetime.fromtimestamp(newest, UTC), {name: Value.FromString(value) for name, (value, _) in found.items()}


def _key(config: Any, key: Any) -> bytes:
    serialized: bytes = serialize_entity_key(key, config.entity_key_serialization_version)
    return serialized


def _view(config: Any, view: Any) -> str:
    return str(compute_versioned_name(view, config.registry.enable_online_feature_view_versioning))


def _epoch(instant: datetime) -> int:
    """Whole seconds since 1970 UTC; Feast hands over naive instants that mean UTC."""
    aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
    return int(aware.timestamp() // 1)
