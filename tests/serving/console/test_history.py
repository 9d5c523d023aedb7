"""A user's row out of snapshot files, and what the model in force says of each, held against the whole files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.catalog import NAMES, digest
from features.snapshots import DIGEST_KEY
from serving.answer import ServedModel
from serving.console import history, snapshot_rows
from serving.console.snapshot_rows import ranges, row_of
from serving.scoring import Bundle, current, write_release

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
IDS = sorted([f"u{k}" for k in range(40)] + ["用户", "🙂", "a/b", "x" * 128])


def write(home, at, ids, rng, catalogue=None, group=8):
    """A snapshot file as `features.build` lays it out, in the order of ``ids``; the matrix in it."""
    values = rng.gamma(1.5, 4.0, (len(ids), len(NAMES)))
    values[rng.random(values.shape) < 0.2] = np.nan
    columns = {name: pa.array(values[:, k], pa.float64(), from_pandas=True) for k, name in enumerate(NAMES)}
    table = pa.table({"user_id": ids, "as_of": [at] * len(ids), "built_at": [at] * len(ids), **columns})
    path = home / "features" / "user" / f"{at:%Y-%m-%dT%H%M%S}Z.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata({DIGEST_KEY: (catalogue or digest()).encode()})
    pq.write_table(table, path, row_group_size=group)
    return path, values


@pytest.mark.parametrize("order", ["sorted", "drawn"])
def test_a_row_is_the_one_of_the_file(tmp_path, order):
    rng = np.random.default_rng(3)
    ids = IDS if order == "sorted" else [IDS[k] for k in rng.permutation(len(IDS))]
    path, values = write(tmp_path, NOW, ids, rng)
    for place, user_id in enumerate(ids):
        np.testing.assert_array_equal(row_of(path, user_id, NAMES, digest()), values[place])
    for stranger in ("", "u", "u00", "zzz", "a", "\x00"):
        assert row_of(path, stranger, NAMES, digest()) is None


def test_a_file_that_changed_is_read_again(tmp_path):
    rng = np.random.default_rng(4)
    for _ in range(2):
        path, values = write(tmp_path, NOW, IDS, rng)
        np.testing.assert_array_equal(row_of(path, IDS[7], NAMES, digest()), values[7])
    path.unlink()
    assert row_of(path, IDS[7], NAMES, digest()) is None
    assert ranges(path) == {}


def test_a_sorted_file_is_read_by_one_group(tmp_path, monkeypatch):
    path, _ = write(tmp_path, NOW, IDS, np.random.default_rng(5))
    read = []
    whole = pq.ParquetFile.read_row_group

    def counted(self, group, *args, **how):
        read.append(group)
        return whole(self, group, *args, **how)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    row_of(path, IDS[17], NAMES, digest())
    assert set(read) == {17 // 8}


def test_another_catalogue_is_not_read(tmp_path):
    path, _ = write(tmp_path, NOW, IDS, np.random.default_rng(6), catalogue="sha256:other")
    assert row_of(path, IDS[0], NAMES, digest()) is None


def test_ranges_are_those_of_the_columns(tmp_path):
    path, values = write(tmp_path, NOW, IDS, np.random.default_rng(7))
    found = ranges(path)
    for place, name in enumerate(NAMES):
        assert found[name] == (np.nanmin(values[:, place]), np.nanmax(values[:, place]))


def test_large_footers_are_not_kept(tmp_path, monkeypatch):
    path, values = write(tmp_path, NOW, IDS, np.random.default_rng(8))
    monkeypatch.setattr(snapshot_rows, "_KEPT_BYTES", 0)
    before = snapshot_rows._footer.cache_info().currsize
    np.testing.assert_array_equal(row_of(path, IDS[3], NAMES, digest()), values[3])
    assert snapshot_rows._footer.cache_info().currsize == before


def test_rows_are_the_newest_that_lie_apart(tmp_path):
    rng = np.random.default_rng(9)
    days = [1, 3, 8, 15, 16, 22, 29, 36, 43, 50, 57, 64, 90]
    written = {NOW - timedelta(days=day): write(tmp_path, NOW - timedelta(days=day), IDS, rng)[1] for day in days}
    (tmp_path / "features" / "user" / "notes.parquet").write_bytes(b"not ours")
    at, rows = history.rows_of(tmp_path, IDS[5], NOW)
    assert [(NOW - one).days for one in at] == [50, 43, 36, 29, 22, 15, 8]
    for one, row in zip(at, rows, strict=True):
        np.testing.assert_array_equal(row, written[one][5])


def test_a_new_user_has_fewer_rows_and_a_stranger_none(tmp_path):
    rng = np.random.default_rng(10)
    write(tmp_path, NOW - timedelta(days=14), IDS[:5], rng)
    write(tmp_path, NOW - timedelta(days=7), IDS, rng)
    at, rows = history.rows_of(tmp_path, IDS[30], NOW)
    assert [(NOW - one).days for one in at] == [7]
    assert rows.shape == (1, len(NAMES))
    at, rows = history.rows_of(tmp_path, "nobody", NOW)
    assert at == []
    assert rows.shape == (0, len(NAMES))
    assert history.rows_of(tmp_path / "no such home", "u1", NOW)[0] == []


def test_one_model_is_asked_about_every_row(tmp_path, catalogue_models, vectors_of):
    write_release(tmp_path / "releases", catalogue_models, digest(), NOW, {"alias": "champion"})
    bundle = Bundle.load(current(tmp_path / "releases"), digest())
    rows = vectors_of(NAMES, n=6, seed=2)
    at = [NOW - timedelta(days=7 * k) for k in range(6)][::-1]
    for name, model in bundle.models.items():
        served = ServedModel.of(bundle, name, NAMES, None)
        x = np.ascontiguousarray(rows[:, served.columns])
        found = history.asked_then(served, at, rows)
        assert found.as_ofs == [one.isoformat() for one in at]
        for head in model.heads:
            whole = model.spend(x, [head])[head].expected if name == "value" else model.probability(x, head)
            inside = model.in_cohort(x, head).tolist()
            assert found.heads[head] == [s if i else None for s, i in zip(whole.tolist(), inside, strict=True)]
