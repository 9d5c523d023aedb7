"""The contract with Feast: what we publish, stock Feast reads, and what Feast writes, we read."""

import logging
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from feast.types import Array, Float64, String

from features import online, vectors
from features.vector_store import VectorOnlineStore

DIGEST = "sha256:" + "0123456789abcdef" * 4
AT = datetime(2024, 3, 1, 5, 6, 7, tzinfo=UTC)
IDS = ["a", "用户", "", "d" * 300]
VALUES = np.array([[1.5, np.nan], [0.1, -1e300], [3, 4], [5, 6]])
TABLE = online.table_of(online.VECTOR_VIEW)


def feast(folder, kind):
    config = RepoConfig(
        project=online.PROJECT,
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
        offline_store={"type": "duckdb"},
        online_store={"type": kind, "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)


def declared(folder):
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(name="nowhere", path=str(folder / "nowhere.parquet"), timestamp_field="as_of")
    key = Field(name="user_id", dtype=String)
    view = FeatureView(
        name=online.VECTOR_VIEW,
        entities=[user],
        schema=[key, Field(name="vector", dtype=Array(Float64))],
        source=source,
    )
    profile = FeatureView(
        name=online.PROFILE_VIEW, entities=[user], schema=[key, Field(name="profile", dtype=String)], source=source
    )
    return [user, view, profile]


@pytest.fixture
def published(tmp_path, caplog):
    with caplog.at_level(logging.ERROR):
        feast(tmp_path, "features.vector_store.VectorOnlineStore").apply(declared(tmp_path))
    packed, at = vectors.pack(VALUES, DIGEST), int(AT.timestamp())
    with online.publication(tmp_path / "online.db") as connection:
        rows = zip(vectors.entity_keys(IDS), packed, strict=True)
        online.upsert(connection, TABLE, [(key, "vector", value, at, None) for key, value in rows])
        texts = [(key, "profile", vectors.pack_text("{}"), at, None) for key in vectors.entity_keys(IDS)]
        online.upsert(connection, online.table_of(online.PROFILE_VIEW), texts)
    return tmp_path


@pytest.mark.parametrize("kind", ["sqlite", "features.vector_store.VectorOnlineStore"])
def test_stock_get_online_features_reads_what_we_published(published, kind):
    answer = feast(published, kind).get_online_features(
        features=[f"{online.VECTOR_VIEW}:vector", f"{online.PROFILE_VIEW}:profile"],
        entity_rows=[{"user_id": one} for one in [*IDS, "nobody"]],
    )
    found = answer.to_dict()
    number = vectors.catalogue_number(DIGEST)
    assert np.array_equal(found["vector"][:-1], np.insert(VALUES, 0, number, axis=1), equal_nan=True)
    assert found["vector"][-1] is None
    assert found["profile"] == ["{}"] * len(IDS) + [None]


def test_instants_are_the_same_in_every_zone(published, monkeypatch):
    """Feast's own SQLite store keeps them in the local time of whoever writes."""
    import time

    store = feast(published, "features.vector_store.VectorOnlineStore")
    view = store.get_feature_view(online.VECTOR_VIEW)
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="a")])
    for zone in ("Asia/Tokyo", "America/New_York", "UTC"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        ((at, values),) = VectorOnlineStore().online_read(store.config, view, [key])
        assert at == AT
        assert len(values["vector"].double_list_val.val) == 3
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        write_through_feast(published, [7, 8], (AT + timedelta(hours=1)).replace(tzinfo=None))  # Feast's naive is UTC
    finally:
        monkeypatch.undo()
        time.tzset()
    ((at, _),) = VectorOnlineStore().online_read(store.config, view, [key])
    assert at == AT + timedelta(hours=1)


def write_through_feast(folder, value, at, made=None):
    store = feast(folder, "features.vector_store.VectorOnlineStore")
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="a")])
    vector = Value(double_list_val=DoubleList(val=[vectors.catalogue_number(DIGEST), *value]))
    counted = []
    VectorOnlineStore().online_write_batch(
        store.config,
        store.get_feature_view(online.VECTOR_VIEW),
        [(key, {"vector": vector}, at, made)],
        counted.append,
    )
    assert counted == [1]


def test_what_feast_writes_we_read_and_an_older_row_is_not_written(published):
    reader = online.OnlineReader(published / "online.db")
    write_through_feast(published, [7, 8], AT.replace(tzinfo=None) + timedelta(hours=1))  # Feast's naive means UTC
    served = online.read_vectors(reader, ["a"], 2, DIGEST)
    assert served.values.tolist() == [[7, 8]]
    assert served.as_of[0].item().replace(tzinfo=UTC) == AT + timedelta(hours=1)
    write_through_feast(published, [9, 9], AT, AT)
    assert online.read_vectors(reader, ["a"], 2, DIGEST).values.tolist() == [[7, 8]]


def test_a_view_that_is_gone_loses_its_table(published):
    store = feast(published, "features.vector_store.VectorOnlineStore")
    view = store.get_feature_view(online.PROFILE_VIEW)
    store.apply([], objects_to_delete=[view], partial=False)
    with online.publication(published / "online.db") as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert TABLE in tables
    assert online.table_of(online.PROFILE_VIEW) not in tables


def test_teardown_leaves_no_file(published):
    feast(published, "features.vector_store.VectorOnlineStore").teardown()
    assert not list(published.glob("online.db*"))


def test_a_relative_path_lies_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    config = feast(tmp_path, "features.vector_store.VectorOnlineStore").config
    config.online_store.path = "online.db"
    assert VectorOnlineStore._get_db_path(config) == str(tmp_path / "online.db")
    assert issubclass(VectorOnlineStore, SqliteOnlineStore)
