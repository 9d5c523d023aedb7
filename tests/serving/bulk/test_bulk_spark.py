"""Everybody's scores by two workers of a real cluster: the very bytes of one machine, resumed in the same folder."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import configs
from configs.errors import UseropsError
from features.catalog import NAMES, digest
from serving.bulk import plan, run
from serving.bulk import spark as by_workers
from serving.log import DecisionLog
from serving.scoring import write_release

AS_OF = datetime(2026, 11, 21, tzinfo=UTC)
NOW = AS_OF.replace(hour=10)
USERS, PARTS = 60, 6
MODELS = ["churn", "value"]


@pytest.fixture(scope="module")
def home(tmp_path_factory, catalogue_models, vectors_of):
    """A release, a snapshot of ten users in a group of rows, and one who wants no personalisation."""
    folder = tmp_path_factory.mktemp("bulk_spark")
    write_release(folder / "releases", catalogue_models, digest(), NOW, {"alias": "champion"})
    path = folder / "features" / "user" / f"{AS_OF:%Y-%m-%dT%H%M%SZ}.parquet"
    path.parent.mkdir(parents=True)
    instants = pa.array([AS_OF] * USERS, pa.timestamp("us", "UTC"))
    columns = [pa.array([f"u{k:03}" for k in range(USERS)]), instants, instants]
    columns += [pa.array(column, from_pandas=True) for column in vectors_of(NAMES, USERS, 5).T]
    table = pa.Table.from_arrays(columns, ["user_id", "as_of", "built_at", *NAMES])
    pq.write_table(table.replace_schema_metadata({"catalogue_digest": digest()}), path, row_group_size=10)
    return folder


@pytest.fixture
def config(home, monkeypatch):
    monkeypatch.setattr(plan, "ROWS", 10)
    return dataclasses.replace(configs.load(home, NOW), threads=1)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("*/part-*.parquet"))}


def test_workers_write_the_very_bytes_of_one_machine(config, spark, tmp_path):
    log = DecisionLog.open(config.decisions_uri)
    log.set_personalization("u013", False, 1)
    log.close()
    run.score_everybody(config, tmp_path / "one", MODELS, reasons=2, lang="zh")
    told = by_spark(config, tmp_path / "many", reasons=2, lang="zh")
    assert told["models"]["churn"]["parts"] == PARTS
    ours, theirs = files(tmp_path / "one"), files(tmp_path / "many")
    assert ours == theirs
    assert len(theirs) == PARTS * len(MODELS)
    rows = pq.read_table(tmp_path / "many" / "churn").to_pylist()
    assert [row["user_id"] for row in rows if row["status_reason"]] == ["u013"]
    # Parts that are there stay; a run goes on where another engine left it.
    there = tmp_path / "many" / "churn" / "part-00003.parquet"
    kept = tmp_path / "many" / "churn" / "part-00001.parquet"
    there.unlink()
    before = kept.stat().st_mtime_ns
    by_spark(config, tmp_path / "many", reasons=2, lang="zh")
    assert files(tmp_path / "many") == ours
    assert kept.stat().st_mtime_ns == before


def test_what_fails_on_a_worker_is_said_and_nothing_half_is_left(config, spark, tmp_path, monkeypatch):
    monkeypatch.setattr(by_workers, "_writer", failing)
    with pytest.raises(UseropsError, match="the cluster failed on churn") as failed:
        by_spark(config, tmp_path / "out")
    assert "BundleError" in str(failed.value)
    assert not files(tmp_path / "out")


def test_a_folder_that_workers_do_not_share_is_said(config, spark, tmp_path, monkeypatch):
    monkeypatch.setattr(by_workers, "_writer", elsewhere)
    with pytest.raises(UseropsError, match="the folder is not the same one on every machine"):
        by_spark(config, tmp_path / "out")


def elsewhere(config, out, job, todo):
    return lambda batches: iter(list(batches)[:0])


def failing(config, out, job, todo):
    def write(batches):
        from configs.errors import BundleError

        for _ in batches:
            raise BundleError("no release here")
        yield from ()

    return write


def by_spark(config, out, **options):
    return by_workers.score_everybody(config, out, MODELS, as_of=None, fresh=False, progress=None, **options)
