"""How fast our two stores are beside Feast's own, each pair measured in alternation in one process.

`benchmark_pit`: historical retrieval, our ASOF store and Feast's DuckDB store, both through Feast, both compared with
an oracle that is neither. `benchmark_publish`: a snapshot into SQLite, and one user out of it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Config
from configs.errors import FeatureError
from features import online
from features.publish import write_vectors

__all__ = ["benchmark_pit", "benchmark_publish"]

READS = 200
START = datetime(2024, 1, 1, tzinfo=UTC)
Progress = Callable[[str, float], None]
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
    with _scratch(config) as folder:
        values = random.normal(size=(days, entities, features))
        path = folder / "history.parquet"
        _write_history(path, values)
        who, seconds = random.integers(entities, size=labels), random.integers(days * 86_400, size=labels)
        asked = pd.DataFrame({"user_id": _ids(entities)[who], "event_timestamp": _instants(seconds)})
        asked["row"] = np.arange(labels)
        oracle = values[seconds // 86_400, who]
        stores: dict[str, dict[str, Any]] = {
            "ours": {"type": "features.asof_store.AsofOfflineStore", "threads": config.threads},
            "feast_duckdb": {"type": "duckdb"},
        }
        contestants = {name: _feast(folder, name, path, features, offline) for name, offline in stores.items()}
        refs = [f"behaviour:f{number}" for number in range(features)]
        taken: dict[str, list[float]] = {name: [] for name in stores}
        equal, ordered = dict.fromkeys(stores, True), dict.fromkeys(stores, True)
        for turn in range(repeats):
            for name, feast in contestants.items():
                with _silence(), _clock(taken[name]):
                    answer = feast.get_historical_features(entity_df=asked, features=refs).to_df()
                ordered[name] &= bool(answer["row"].is_monotonic_increasing)
                columns = [f"f{number}" for number in range(features)]
                equal[name] &= np.array_equal(answer.sort_values("row")[columns].to_numpy(), oracle)
            if progress:
                progress("pit", (turn + 1) / repeats)
    if not (equal["ours"] and ordered["ours"]):
        raise FeatureError("our join does not give the oracle's answer", got="other values", expected="equal values")
    return _report(
        "pit",
        {"seconds": _spread(taken["ours"]), "equal_to_oracle": _spread([float(equal["ours"])])},
        {
            "feast_duckdb": {
                "seconds": statistics.median(taken["feast_duckdb"]),
                "equal_to_oracle": float(equal["feast_duckdb"]),
                "rows_in_order": float(ordered["feast_duckdb"]),
            }
        },
        {"ours_vs_feast_duckdb": statistics.median(taken["feast_duckdb"]) / statistics.median(taken["ours"])},
        {"labels": labels, "days": days, "entities": entities, "features": features, "repeats": repeats},
        started,
    )


def benchmark_publish(
    config: Config, users: int = 10_000, features: int = 60, repeats: int = 3, progress: Progress | None = None
) -> dict[str, Any]:
    """Users a second into the online store, and microseconds to read one back, ours and Feast's scalar views.

    Raises
    ------
    FeatureError
        When a value read back is not the value published.
    """
    started = time.monotonic()
    random = np.random.default_rng(config.seed)
    names = tuple(f"f{number}" for number in range(features))
    catalogue = "sha256:" + hashlib.sha256(",".join(names).encode()).hexdigest()
    with _scratch(config) as folder:
        values = random.normal(size=(1, users, features))
        path = folder / "snapshot.parquet"
        _write_history(path, values)
        ids = list(_ids(users))
        feast = _feast(folder, "feast", path, features, {"type": "duckdb"})
        written: dict[str, list[float]] = {"ours": [], "feast_materialize": []}
        for turn in range(repeats):
            home = folder / f"ours-{turn}"
            with _clock(written["ours"]), online.publication(online.path_of(home)) as connection:
                write_vectors(config, connection, path, names, catalogue)
            feast = _feast(folder, f"feast-{turn}", path, features, {"type": "duckdb"})
            with _silence(), _clock(written["feast_materialize"]):
                feast.materialize(START - timedelta(days=1), START + timedelta(days=1))
            if progress:
                progress("publish", (turn + 1) / repeats)
        reader = online.OnlineReader(online.path_of(home))
        refs = [f"behaviour:{name}" for name in names]

        def ours(user: str) -> Values:
            found: Values = online.read_vectors(reader, [user], features, catalogue).values[0]
            return found

        def stock(user: str) -> Values:
            answer = feast.get_online_features(features=refs, entity_rows=[{"user_id": user}]).to_dict()
            return np.array([answer[name][0] for name in names])

        readers = {"ours": ours, "feast_scalar_views": stock}
        read: dict[str, list[float]] = {name: [] for name in readers}
        for number in random.integers(users, size=READS):
            for name, one in readers.items():
                with _clock(read[name]):
                    answer = one(ids[number])
                if not np.array_equal(answer, values[0, number]):
                    raise FeatureError(f"{name}: another value came back than was published", got=ids[number])
    rate = {name: [users / seconds for seconds in taken] for name, taken in written.items()}
    return _report(
        "publish",
        {
            "users_per_second": _spread(rate["ours"]),
            "read_microseconds": _spread([1e6 * seconds for seconds in read["ours"]]),
        },
        {
            "feast_materialize": {"users_per_second": statistics.median(rate["feast_materialize"])},
            "feast_scalar_views": {"read_microseconds": 1e6 * statistics.median(read["feast_scalar_views"])},
        },
        {
            "ours_vs_feast_materialize": statistics.median(rate["ours"]) / statistics.median(rate["feast_materialize"]),
            "ours_vs_feast_read": statistics.median(read["feast_scalar_views"]) / statistics.median(read["ours"]),
        },
        {"users": users, "features": features, "repeats": repeats, "reads": READS},
        started,
    )


def _write_history(path: Path, values: Values) -> None:
    """``values[day, entity, feature]`` as Parquet: one row per entity at each midnight, written an hour later."""
    days, entities, features = values.shape
    as_of = _instants(np.repeat(np.arange(days) * 86_400, entities))
    columns: dict[str, Any] = {
        "user_id": np.tile(_ids(entities), days),
        "as_of": as_of,
        "built_at": as_of + pd.Timedelta(hours=1),
        **{f"f{number}": values[:, :, number].ravel() for number in range(features)},
    }
    table = pa.table(columns)
    for number, name in ((1, "as_of"), (2, "built_at")):
        table = table.set_column(number, name, table[name].cast(pa.timestamp("us", "UTC")))
    pq.write_table(table, path)


def _feast(folder: Path, name: str, path: Path, features: int, offline_store: dict[str, Any]) -> Any:
    """A Feast store of its own over one file, its view registered; everything but ``offline_store`` is Feast's."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, String

    home = folder / name
    home.mkdir()
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home / 'registry.db'}"},
        offline_store=offline_store,
        online_store={"type": "sqlite", "path": str(home / "online.db")},
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
    with _silence():
        store.apply([user, view])
    return store


def _ids(count: int) -> npt.NDArray[np.str_]:
    return np.array([f"user-{number:06d}" for number in range(count)])


def _instants(seconds: npt.NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.Timestamp(START) + pd.to_timedelta(seconds, unit="s"))


@contextlib.contextmanager
def _clock(seconds: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _scratch(config: Config) -> Iterator[Path]:
    (config.home / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=config.home / "tmp") as folder:
        yield Path(folder)


def _spread(values: list[float]) -> dict[str, Any]:
    """The median of the runs, and the range of nine tenths of them (all, when they are few)."""
    low, high = np.quantile(values, [0.05, 0.95]) if len(values) >= 20 else (min(values), max(values))
    return {"value": statistics.median(values), "ci": [float(low), float(high)]}


def _report(
    name: str,
    metrics: dict[str, Any],
    baselines: dict[str, Any],
    ratios: dict[str, float],
    settings: dict[str, Any],
    started: float,
) -> dict[str, Any]:
    return {
        "benchmark": name,
        "metrics": metrics,
        "baselines": baselines,
        "ratios": ratios,
        "settings": settings,
        "versions": {
            "python": platform.python_version(),
            **{lib: version(lib) for lib in ("feast", "duckdb", "numpy")},
        },
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
