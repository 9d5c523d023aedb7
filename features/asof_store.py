"""Feast's face of the point-in-time join: an offline store, chosen in ``feature_store.yaml`` by its class name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast.data_format import ParquetFormat
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig, _write_data_source
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.on_demand_feature_view import OnDemandFeatureView

from configs.errors import FeatureError
from features.asof import History, connect, join, parquet_files, rows_between
from features.vectors import packed_sql

__all__ = ["PACKED_TAG", "AsofOfflineStore", "AsofOfflineStoreConfig"]

# Tag "packed:<feature>" of a source = "<catalogue digest>|<column>,<column>,...": the feature is those columns in one
# vector (features/vectors.py). Names only: an expression in the registry would be code that anybody there could change.
PACKED_TAG = "packed:"


class AsofOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """The ``offline_store`` block of ``feature_store.yaml``.

    ``known_at`` hides every row written after that instant; ``memory_limit`` and ``threads`` bound DuckDB, which spills
    to ``spill_folder``.
    """

    type: str = "features.asof_store.AsofOfflineStore"
    known_at: datetime | None = None
    memory_limit: str | None = None
    threads: int | None = None
    spill_folder: str | None = None


class AsofOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]
    """Feast's DuckDB store with exact, fast reads; sources other than local Parquet keep Feast's own."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """The features of every row of ``entity_df`` as of its timestamp; the rules are in ``features/asof.py``."""
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        if any(view.mode == "substrait" for view in on_demand) or not all(
            _is_local_parquet(view.batch_source) for view in feature_views
        ):
            return DuckDBOfflineStore.get_historical_features(
                config, feature_views, feature_refs, entity_df, registry, project, full_feature_names,
                filter_by_created_timestamp,
            )  # fmt: skip
        if not isinstance(entity_df, pd.DataFrame):
            raise FeatureError("the entity rows must be a frame", got=type(entity_df).__name__, expected="DataFrame")
        at = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        asked = entity_df.assign(**{at: pd.to_datetime(entity_df[at], utc=True)})
        histories = [_history(config, view, feature_refs, full_feature_names) for view in feature_views]
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[column for column in asked.columns if column != at],
            min_event_timestamp=asked[at].min(),
            max_event_timestamp=asked[at].max(),
        )
        settings = {"as_known_then": filter_by_created_timestamp, "known_at": config.offline_store.known_at}
        return AsofRetrievalJob(
            config,
            lambda connection: join(connection, asked, at, histories, **settings),
            on_demand,
            full_feature_names,
            metadata,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each key with ``start_date <= timestamp <= end_date``."""
        arguments = (
            config, data_source, join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column,
            start_date, end_date,
        )  # fmt: skip
        if not _is_local_parquet(data_source):
            return DuckDBOfflineStore.pull_latest_from_table_or_query(*arguments)
        return _pull(*arguments, latest=True)

    @staticmethod
    def pull_all_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with ``start_date <= timestamp <= end_date``."""
        arguments = (
            config, data_source, join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column,
            start_date, end_date,
        )  # fmt: skip
        if not _is_local_parquet(data_source):
            return DuckDBOfflineStore.pull_all_from_table_or_query(*arguments)
        return _pull(*arguments, latest=False)


class AsofRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A retrieval that runs, in its own DuckDB, when its result is asked for."""

    def __init__(
        self,
        config: Any,
        answer: Callable[[duckdb.DuckDBPyConnection], pa.Table],
        on_demand: list[Any],
        full_feature_names: bool,
        metadata: RetrievalMetadata | None,
    ) -> None:
        super().__init__()
        self._config, self._answer, self._on_demand = config, answer, on_demand
        self._full_feature_names, self._metadata = full_feature_names, metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        store = self._config.offline_store
        with connect(store.memory_limit, store.threads, store.spill_folder) as connection:
            return self._answer(connection)

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()

    @property
    def full_feature_names(self) -> bool:
        """Whether a feature's column is named ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[Any]:
        """The transformations that Feast applies to the answer."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Which features, keys and instants were asked."""
        return self._metadata

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the answer to ``storage`` (a saved dataset)."""
        import ibis

        _write_data_source(
            ibis.memtable(self.to_arrow()),
            storage.to_data_source(),
            str(self._config.repo_path),
            "overwrite",
            allow_overwrite,
        )


def _history(config: Any, view: Any, feature_refs: list[str], full_feature_names: bool) -> History:
    prefix = f"{view.projection.name_to_use()}:"
    features = [ref.removeprefix(prefix) for ref in feature_refs if ref.startswith(prefix)]
    # Columns carry the name without a version: "view@v2:feature" answers as view__feature.
    shown = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    renamed = view.projection.join_key_map or {column.name: column.name for column in view.entity_columns}
    source = view.batch_source
    return History(
        files=_files(config, source),
        keys=tuple((_column(source, own), asked) for own, asked in renamed.items()),
        timestamp=source.timestamp_field,
        created=source.created_timestamp_column or None,
        ttl=view.ttl,
        features={shown + feature: _expression(source, feature) for feature in features},
    )


def _pull(
    config: Any,
    source: Any,
    keys: list[str],
    features: list[str],
    timestamp: str,
    created: str | None,
    start: datetime | None,
    end: datetime | None,
    latest: bool,
) -> AsofRetrievalJob:
    history = History(
        files=_files(config, source),
        keys=tuple((key, key) for key in keys),
        timestamp=timestamp,
        created=created or None,
        features={feature: _expression(source, feature) for feature in features},
    )
    sql, parameters = rows_between(history, _aware(start), _aware(end), latest=latest)
    return AsofRetrievalJob(
        config, lambda connection: connection.execute(sql, parameters).to_arrow_table(), [], False, None
    )


def _aware(instant: datetime | None) -> datetime | None:
    return instant if instant is None or instant.tzinfo else instant.astimezone()


def _is_local_parquet(source: Any) -> bool:
    if not isinstance(source, FileSource) or "://" in source.path:
        return False
    return isinstance(source.file_format, ParquetFormat) or (
        not source.file_format and source.path.endswith(".parquet")
    )


def _files(config: Any, source: FileSource) -> tuple[str, ...]:
    path = Path(source.path)
    return parquet_files(path if path.is_absolute() or not config.repo_path else Path(config.repo_path) / path)


def _column(source: FileSource, feature: str) -> str:
    return next((own for own, name in source.field_mapping.items() if name == feature), feature)


def _expression(source: FileSource, feature: str) -> str:
    packed = source.tags.get(PACKED_TAG + feature)
    if packed:
        digest, _, columns = packed.partition("|")
        return packed_sql(columns.split(","), digest)
    column = _column(source, feature).replace('"', '""')
    return f'h."{column}"'
