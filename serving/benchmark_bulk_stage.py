"""What ``userops benchmark bulk`` sets up: homes of large models and of many users; nothing of the home is written."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from configs import Config
from features import asof, snapshots
from features.catalog import NAMES, digest
from features.inputs import literal
from serving.benchmark_boosters import rows_around, synthetic
from serving.scoring import current, write_model, write_release

__all__ = ["lay_large_models", "lay_people"]

Floats = NDArray[np.float64]

GROUP = 10_240  # rows, as a build writes them


def lay_large_models(home: Path, seed: int, trees: int, leaves: int, users: int) -> dict[str, lgb.Booster]:
    """A home of three models of ``trees`` x ``leaves`` over the catalogue, one head each, and a snapshot of users."""
    now = datetime.now(UTC).replace(microsecond=0)
    random, folders, boosters = np.random.default_rng(seed), {}, {}
    for number in (1, 2, 3):
        name = f"large_{number}"
        booster = lgb.Booster(model_str=synthetic(random, trees, leaves, len(NAMES)).model_to_string())
        raw = np.asarray(booster.predict(rows_around(booster, 500, random), raw_score=True))
        head = {
            "booster": "large",
            "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0},
            "raw_percentiles": np.quantile(raw, np.linspace(0, 1, 101)).tolist(),
        }
        meta: dict[str, Any] = {
            "name": name,
            "version": "1",
            "run_id": name,
            "features": list(NAMES),
            "catalogue_digest": digest(),
            "boosters": {"large": {}},
            "heads": {f"p_{name}": head},
            "cold_start": {f"p_{name}": 0.5},
            "created_at": now.isoformat(),
        }
        folders[name], boosters[name] = home / "models" / name, booster
        write_model(folders[name], meta, {"large": booster.model_to_string()})
    write_release(home / "releases", folders, digest(), now)
    x = np.concatenate([rows_around(booster, -(-users // 3), random) for booster in boosters.values()])[:users]
    _write_snapshot(home, x[random.permutation(users)], now)
    return boosters


def _write_snapshot(home: Path, x: Floats, as_of: datetime) -> None:
    path = home / "features" / "user" / f"{as_of:%Y-%m-%dT%H%M%SZ}.parquet"
    path.parent.mkdir(parents=True)
    instants = pa.array([as_of] * len(x), pa.timestamp("us", "UTC"))
    columns: list[Any] = [pa.array([f"u{number:08}" for number in range(len(x))]), instants, instants]
    columns += [pa.array(column, pa.float64(), mask=np.isnan(column)) for column in x.T]
    table = pa.Table.from_arrays(columns, ["user_id", "as_of", "built_at", *NAMES])
    table = table.replace_schema_metadata({"catalogue_digest": digest()})
    pq.write_table(table, path, row_group_size=GROUP, compression="zstd")


def lay_people(config: Config, home: Path, users: int) -> None:
    """A home with the release of ``config``, and its newest users and histories as often as makes ``users``.

    A copy's values that are no counts lie up to a tenth apart, so that its rows and sentences are its own.
    """
    released = current(config.home / "releases")
    if not (home / "releases").exists():
        (home / "releases").mkdir(parents=True)
        shutil.copytree(released, home / "releases" / released.name)
        (home / "releases" / "current").symlink_to(released.name)
    far = datetime.max.replace(tzinfo=UTC)
    as_of, source = snapshots.newest(config, "user", far)
    _, lines = snapshots.newest(config, "history", as_of)
    copies = -(-users // pq.read_metadata(source).num_rows)
    apart = ", ".join(
        f'CASE WHEN "{name}" = floor("{name}") THEN "{name}" ELSE "{name}" * '
        f"(0.9 + 0.2 * (hash(user_id, copy, '{name}') % 100000) / 100000.0) END AS \"{name}\""
        for name in NAMES
    )
    who = "lpad(copy::VARCHAR, 5, '0') || user_id AS user_id, as_of, built_at"
    about = ", ".join(f"{key}: '{value}'" for key, value in snapshots.metadata(source).items())
    chosen = {
        "user": f"SELECT {who}, {apart} FROM read_parquet({literal(source)}), range({copies}) t(copy) "
        f"ORDER BY copy, user_id LIMIT {users}",
        "history": f"SELECT {who}, history FROM read_parquet({literal(lines)}), range({copies}) t(copy)",
    }
    with asof.connect("2GB", config.threads, str(home / "spill")) as connection:
        for table, query in chosen.items():
            path = home / "features" / table / source.name
            path.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(
                f"COPY ({query}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd, WRITE_BLOOM_FILTER false, "
                f"DICTIONARY_SIZE_LIMIT 5000, ROW_GROUP_SIZE {GROUP}, KV_METADATA {{{about}}})"
            )
