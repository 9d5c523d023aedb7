"""How fast our two stores are beside Feast's own, each pair measured in alternation in one process.

`benchmark_pit`: historical retrieval, our ASOF store and Feast's DuckDB store, both through Feast, both compared with
an oracle that is neither.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Config
from configs.errors import FeatureError
from features.benchmark_report import Progress, clock, report, scratch, silence, spread

__all__ = ["START", "Values", "benchmark_pit", "feast_store", "ids_of", "write_history"]

START = datetime(2024, 1, 1, tzinfo=UTC)
Values = npt.NDArray[np.float64]


def benchmark_pit(
    config: Config,
    labels: int = 20_000,
    days: int = 365,
    entities: int = 500,
    features: int = 30,
    repeats: int = 3,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Seconds to join ``labels`` rows with ``entities`` × ``days`` rows of ``features``, ours and Feast's DuckDB store.

    Raises
    ------
    FeatureError
        When our answer is not the oracle's.
    """
    started = time.monotonic()
    random = np.random.default_rng(config.seed)
    with scratch(config) as folder:
        values = random.normal(size=(days, entities, features))
        path = folder / "history.parquet"
        write_history(path, values)
        who, seconds = random.integers(entities, size=labels), random.integers(days * 86_400, size=labels)
        asked = pd.DataFrame({"user_id": ids_of(entities)[who], "event_timestamp": _instants(seconds)})
        asked["row"] = np.arange(labels)
        oracle = values[seconds // 86_400, who]
        stores: dict[str, dict[str, Any]] = {
            "ours": {"type": "features.asof_store.AsofOfflineStore", "threads": config.threads},
            "feast_duckdb": {"type": "duckdb"},
        }
        contestants = {name: feast_store(folder, name, path, features, offline) for name, offline in stores.items()}
        refs = [f"behaviour:f{number}" for number in range(features)]
        taken: dict[str, list[float]] = {name: [] for name in stores}
        equal, ordered = dict.fromkeys(stores, True), dict.fromkeys(stores, True)
        for turn in range(repeats):
            for name, feast in contestants.items():
                with silence(), clock(taken[name]):
                    answer = feast.get_historical_features(entity_df=asked, features=refs).to_df()
                ordered[name] &= bool(answer["row"].is_monotonic_increasing)
                columns = [f"f{number}" for number in range(features)]
                equal[name] &= np.array_equal(answer.sort_values("row")[columns].to_numpy(), oracle)
            if progress:
                progress("pit", (turn + 1) / repeats)
    if not (equal["ours"] and ordered["ours"]):
        raise FeatureError("our join does not give the oracle's answer", got="other values", expected="equal values")
    return report(
        "pit",
        {"seconds": spread(taken["ours"]), "equal_to_oracle": spread([float(equal["ours"])])},
        {
            "feast_duckdb": {
                "seconds": statistics.median(taken["feast_duckdb"]),
                "equal_to_oracle": float(equal["feast_duckdb"]),
                "rows_in_order": float(ordered["feast_duckdb"]),
            }
        },
        {"ours_vs_feast_duckdb": statistics.median(taken["feast_duckdb"]) / statistics.median(taken["ours"])},
        {"labels": labels, "days": days, "entities": entities, "features": features, "repeats": repeats},
        ("feast", "duckdb", "numpy"),
        started,
    )


def write_history(path: Path, values: Values) -> None:
    """``values[day, entity, feature]`` as Parquet: one row per entity at each midnight, written an hour later."""
    days, entities, features = values.shape
    as_of = _instants(np.repeat(np.arange(days) * 86_400, entities))
    columns: dict[str, Any] = {
        "user_id": np.tile(ids_of(entities), days),
        "as_of": as_of,
        "built_at": as_of + pd.Timedelta(hours=1),
        **{f"f{number}": values[:, :, number].ravel() for number in range(features)},
    }
    table = pa.table(columns)
    for number, name in ((1, "as_of"), (2, "built_at")):
        table = table.set_column(number, name, table[name].cast(pa.timestamp("us", "UTC")))
    pq.write_table(table, path)


def feast_store(
    folder: Path,
    name: str,
    path: Path,
    features: int,
    offline_store: Mapping[str, Any],
    online_store: Mapping[str, Any] | None = None,
) -> Any:
    """A Feast store of its own over one file, its view registered; everything but ``offline_store`` is Feast's."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, String

    home = folder / name
    home.mkdir(exist_ok=True)
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home / 'registry.db'}"},
        offline_store=offline_store,
        online_store=online_store or {"type": "sqlite", "path": str(home / "online.db")},
        materialization={"pull_latest_features": True, "online_write_batch_size": 10_000},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="behaviour",
        entities=[user],
        ttl=timedelta(days=500),
        schema=[Field(name="user_id", dtype=String), *(Field(name=f"f{i}", dtype=Float64) for i in range(features))],
        source=FileSource(path=str(path), timestamp_field="as_of", created_timestamp_column="built_at"),
    )
    store = FeatureStore(config=config)
    with silence():
        store.apply([user, view])
    return store


def ids_of(count: int) -> npt.NDArray[np.str_]:
    """Names of so many users."""
    return np.array([f"user-{number:06d}" for number in range(count)])


def _instants(seconds: npt.NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.Timestamp(START) + pd.to_timedelta(seconds, unit="s"))
