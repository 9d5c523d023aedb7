"""Ours, pandas and polars give the same twenty features, on histories made to sit on the ends of windows."""

import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import load
from configs.errors import FeatureError
from features import benchmark_features, benchmark_frames
from features.benchmark_frames import TWENTY, WAYS, check_equal, frames
from features.events import COLUMNS, KINDS

AS_OFS = [datetime(2024, 5, 4, 8, 30, tzinfo=UTC), datetime(2024, 4, 27, 8, 30, tzinfo=UTC)]


def events(seed, users=40, count=2500):
    """Random events: many at whole days before the snapshot, equal receipts and items, some without either."""
    random = np.random.default_rng(seed)
    ages = random.choice([0, 1, 29, 30, 89, 90, 364, 365, 366, 500], count) + random.choice([0, 0.5, 0.25], count)
    at = [AS_OFS[0] - timedelta(days=float(age)) + timedelta(microseconds=int(jitter)) for age, jitter in
          zip(ages, random.choice([-1, 0, 0, 1, 3_600_000_000], count), strict=True)]  # fmt: skip
    kind = random.choice(KINDS, count)
    kind[: len(KINDS)] = KINDS  # a source that lacks a kind is another matter: its features are null for everybody
    priced = np.isin(kind, ("purchase", "return"))

    def some(prefix, many, share, where=True):
        number, there = random.integers(many, size=count), (random.random(count) < share) & where
        return [f"{prefix}{n}" if known else None for n, known in zip(number, there, strict=True)]

    columns = {
        "event_id": [f"e{number}" for number in range(count)],
        "user_id": [f"u{number:03d}" for number in random.integers(users, size=count)],
        "event_type": kind,
        "event_at": at,
        "ingested_at": at,
        "channel": some("c", 3, 0.5),
        "category_id": some("k", 5, 0.5),
        "item_id": some("i", 6, 0.8),
        "store_id": some("s", 2, 0.1),
        "order_id": some("o", 60, 0.7, priced),
        "quantity": np.where(priced, 1.0, np.nan),
        "amount": pa.array(np.where(priced, random.integers(1, 9999, count) / 100, np.nan), from_pandas=True),
        "props": [None] * count,
    }
    types = {"string": pa.string(), "float64": pa.float64()}
    arrays = {
        name: pa.array(columns[name], types.get(kind, pa.timestamp("us", "UTC")), from_pandas=True)
        for name, kind in COLUMNS.items()
    }
    return pa.table(arrays)


@pytest.mark.parametrize("seed", range(3))
def test_three_ways_one_answer(tmp_path, seed):
    pq.write_table(events(seed), tmp_path / "events.parquet")
    found = {way: make(load(tmp_path), [tmp_path / "events.parquet"], AS_OFS) for way, make in WAYS.items()}
    assert len(found["ours"]) > 70
    for name in TWENTY:
        values = found["ours"][name].to_pandas()
        assert values.nunique() > 1, name
    for way, table in found.items():
        check_equal(way, table, found["ours"])


def test_a_difference_is_named():
    at = pa.array([AS_OFS[0]] * 2, pa.timestamp("us", "UTC"))
    ours = pa.table({"user_id": ["a", "b"], "as_of": at, **{name: [1.0, None] for name in TWENTY}})
    check_equal("pandas", ours.take([1, 0]), ours)
    theirs = ours.set_column(ours.column_names.index("orders_30d"), "orders_30d", [pa.array([1.0, 0.0])])
    with pytest.raises(FeatureError, match="pandas: orders_30d of b is not ours"):
        check_equal("pandas", theirs, ours)
    with pytest.raises(FeatureError, match="other users"):
        check_equal("polars", ours.slice(1), ours)


def test_each_way_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.delitem(benchmark_frames.WAYS, "pandas")
    pq.write_table(events(7), tmp_path / "events.parquet")
    found = frames(load(tmp_path), tmp_path, [tmp_path / "events.parquet"], AS_OFS, repeats=2)
    assert set(found) == {"ours", "polars"}
    assert all(len(one["seconds"]) == 2 and one["peak_mb"] > 50 for one in found.values())


def test_features_beside_pandas_and_polars(tmp_path, monkeypatch):
    def measured(config, scratch, snapshots):
        return {"seconds": 2.0 + snapshots, "rows": 10, "peak_mb": 100.0}

    def compared(config, scratch, files, as_ofs, repeats):
        assert files
        seconds = {"ours": 1.0, "pandas": 2.0, "polars": 0.5}
        return {way: {"seconds": [one * len(as_ofs)] * repeats, "peak_mb": 1.0} for way, one in seconds.items()}

    monkeypatch.setattr(benchmark_features, "measure_build", measured)
    monkeypatch.setattr(benchmark_features, "frames", compared)
    found = benchmark_features.benchmark_features(load(tmp_path), events=500, snapshots=4, frame_events=500)
    assert found["ratios"] == {
        "ours_vs_one_scan_per_snapshot": 2.0,
        "ours_vs_pandas_1": 2.0, "ours_vs_pandas_12": 2.0, "ours_vs_polars_1": 0.5, "ours_vs_polars_12": 0.5,
    }  # fmt: skip
    assert found["baselines"]["pandas"] == {
        "twenty_seconds_1": 2.0, "twenty_seconds_12": 24.0, "twenty_peak_mb_1": 1.0, "twenty_peak_mb_12": 1.0,
    }  # fmt: skip
    assert not os.listdir(tmp_path / "tmp")
