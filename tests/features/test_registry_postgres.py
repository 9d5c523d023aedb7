"""Feast's registry in PostgreSQL does what the file of the home does, holds one installation, and tells no password."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import load
from configs.errors import FeatureError
from configs.history import WIDTH
from features import online
from features.catalog import NAMES
from features.definitions import BEHAVIOUR_VIEW
from features.store import Store
from serving.log.postgres_server import postgres_server

ROOT = Path(__file__).parents[2]
AS_OF = datetime(2024, 2, 1, tzinfo=UTC)
SECRET = "s3cret-of-tests"
RUN = """
import json, os, sys
from feast.cli.cli import cli
for words in json.loads(sys.argv[1]):
    os.chdir(sys.argv[2])
    cli.main(["-c", "features", *words], prog_name="feast", standalone_mode=False)
"""


@pytest.fixture(scope="module")
def postgres(postgres_program):
    """A server that asks for a password."""
    with postgres_server(durable=False, password=SECRET) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def registry(request, monkeypatch):
    """Where the registry is; None: in the home."""
    if request.param == "sqlite":
        return None
    server = request.getfixturevalue("postgres")
    with psycopg.connect(server.uri(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS registry")
    uri = server.create("registry")
    monkeypatch.setenv("USEROPS_REGISTRY", uri)
    return uri


def lay(home):
    """Two users in one snapshot."""
    stamps = {name: pa.array([AS_OF] * 2, pa.timestamp("us", "UTC")) for name in ("as_of", "built_at")}
    columns = {name: [float(number), None] for number, name in enumerate(NAMES)}
    beside = {"profile": {"profile": ["{}", "{}"]}, "history": {"history": [[0.0] * WIDTH, []]}}
    for table, content in {"user": columns, **beside}.items():
        (home / "features" / table).mkdir(parents=True)
        path = home / "features" / table / "2024-02-01T000000Z.parquet"
        pq.write_table(pa.table({"user_id": ["a", "b"], **stamps, **content}), path)
    return Store(load(home, now=AS_OF))


def test_apply_publish_and_read(tmp_path, registry):
    store = lay(tmp_path)
    assert store.publish().users == 2
    again = Store(load(tmp_path, now=AS_OF))
    assert {view.name for view in again.feast().list_feature_views()} >= {BEHAVIOUR_VIEW, online.VECTOR.view}
    assert again.feast().get_feature_view(online.VECTOR.view).most_recent_end_time == AS_OF
    keys = pd.DataFrame({"user_id": ["b", "a"], "as_of": [pd.Timestamp(AS_OF)] * 2})
    read = again.historical(keys)
    assert np.array_equal(read[NAMES[1]], [np.nan, 1.0], equal_nan=True)
    answer = again.feast().get_online_features(["user_profile:profile"], [{"user_id": "a"}]).to_dict()
    assert answer["profile"] == ["{}"]
    assert (tmp_path / "registry.db").exists() == (registry is None)
    assert SECRET not in repr(again.feast().config)


@pytest.mark.parametrize("registry", ["postgres"], indirect=True)  # in the home: test_store_feast.py
def test_feasts_own_commands_work(tmp_path, registry):
    lay(tmp_path)
    words = [
        ["apply"],
        ["feature-views", "list"],
        ["materialize", "2024-01-31T00:00:00", "2024-02-02T00:00:00"],
        ["get-online-features", "-f", "user_profile:profile", "-e", "user_id=a"],
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, json.dumps(words), str(ROOT)],
        cwd=ROOT,
        env={**os.environ, "USEROPS_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert BEHAVIOUR_VIEW in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert not (tmp_path / "registry.db").exists()
    with psycopg.connect(registry) as connection:
        found = connection.execute("SELECT feature_view_name FROM feature_views").fetchall()
    assert (BEHAVIOUR_VIEW,) in found
    assert len(Store(load(tmp_path, now=AS_OF)).feast().list_feature_views()) == 4


@pytest.mark.parametrize("registry", ["postgres"], indirect=True)
def test_another_home_is_refused_before_it_writes_anything(tmp_path, postgres, registry):
    lay(tmp_path / "first").publish()
    second = lay(tmp_path / "second")
    with pytest.raises(FeatureError, match="tells of another home") as refused:
        second.publish()
    assert str(tmp_path / "first") in str(refused.value)
    assert not second.is_published()
    second.apply()  # whoever means it says so
    assert second.publish().users == 2


def test_a_home_that_was_moved_reads_its_own_snapshots(tmp_path):
    lay(tmp_path / "old").publish()
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "old" / "features" / "user").mkdir(parents=True)
    keys = pd.DataFrame({"user_id": ["a"], "as_of": [pd.Timestamp(AS_OF)]})
    assert Store(load(tmp_path / "new", now=AS_OF)).historical(keys)[NAMES[1]].tolist() == [1.0]


@pytest.mark.parametrize("wrong", ["password", "port"])
def test_a_registry_that_cannot_be_reached_is_told_without_its_password(tmp_path, postgres, monkeypatch, wrong):
    uri = postgres.uri("registry") if wrong == "port" else postgres.uri().replace(SECRET, "wr0ng")
    monkeypatch.setenv("USEROPS_REGISTRY", uri.replace(f":{postgres.port}", ":1") if wrong == "port" else uri)
    store = lay(tmp_path)
    with pytest.raises(FeatureError, match="registry postgresql") as told:
        store.publish()
    assert not {"wr0ng", SECRET} & set(str(told.value).replace(":", " ").replace("@", " ").split())
    assert not store.is_published()
