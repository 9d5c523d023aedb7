"""The contract with Feast: what we publish, stock Feast reads, and what Feast writes, we read."""

import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import numpy as np
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from feast.types import Array, Float64, String

from configs import load
from configs.errors import FeatureError
from features import online, vectors
from features.vector_store import VectorOnlineStore

DIGEST = "sha256:" + "0123456789abcdef" * 4
AT = datetime(2024, 3, 1, 5, 6, 7, tzinfo=UTC)
IDS = ["a", "用户", "", "d" * 300]
VALUES = np.array([[1.5, np.nan], [0.1, -1e300], [3, 4], [5, 6]])
OURS = "features.vector_store.VectorOnlineStore"


@pytest.fixture(autouse=True)
def own_online_store(online_store, monkeypatch, tmp_path):
    """With either store, in the home that Feast finds by itself."""
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    online_store.fresh(monkeypatch)


def opened():
    return online.open_store(load().online_uri)


def stock(folder):
    """The block of Feast's own store over what is published."""
    uri = urlsplit(load().online_uri)
    if uri.scheme == "sqlite":
        return {"type": "sqlite", "path": str(folder / "online.db")}
    return {
        "type": "redis",
        "connection_string": f"{uri.hostname}:{uri.port},db={uri.path[1:]},password={uri.password}",
    }


def feast(folder, kind=OURS):
    config = RepoConfig(
        project=online.PROJECT,
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
        offline_store={"type": "duckdb"},
        online_store={"type": OURS} if kind == OURS else stock(folder),
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)


def declared(folder):
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(name="nowhere", path=str(folder / "nowhere.parquet"), timestamp_field="as_of")
    key = Field(name="user_id", dtype=String)
    view = FeatureView(
        name=online.VECTOR.view,
        entities=[user],
        schema=[key, Field(name="vector", dtype=Array(Float64))],
        source=source,
    )
    profile = FeatureView(
        name=online.PROFILE.view, entities=[user], schema=[key, Field(name="profile", dtype=String)], source=source
    )
    return [user, view, profile]


@pytest.fixture
def published(tmp_path, caplog):
    with caplog.at_level(logging.ERROR):
        feast(tmp_path).apply(declared(tmp_path))
    packed, at = vectors.pack(VALUES, DIGEST), int(AT.timestamp())
    with opened().publication() as writer:
        rows = zip(vectors.entity_keys(IDS), packed, strict=True)
        texts = [(key, vectors.pack_text("{}"), at, None) for key in vectors.entity_keys(IDS)]
        writer.write({online.VECTOR: [(key, value, at, None) for key, value in rows], online.PROFILE: texts})
    return tmp_path


@pytest.mark.parametrize("kind", ["stock", OURS])
def test_stock_get_online_features_reads_what_we_published(published, kind):
    answer = feast(published, kind).get_online_features(
        features=[":".join(online.VECTOR), ":".join(online.PROFILE)],
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

    store = feast(published)
    view = store.get_feature_view(online.VECTOR.view)
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
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
    ((at, _),) = VectorOnlineStore().online_read(store.config, view, [key])
    assert at == AT + timedelta(hours=1)


def write_through_feast(folder, value, at, made=None):
    store = feast(folder)
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="a")])
    vector = Value(double_list_val=DoubleList(val=[vectors.catalogue_number(DIGEST), *value]))
    counted = []
    VectorOnlineStore().online_write_batch(
        store.config,
        store.get_feature_view(online.VECTOR.view),
        [(key, {"vector": vector}, at, made)],
        counted.append,
    )
    assert counted == [1]


def test_what_feast_writes_we_read_and_an_older_row_is_not_written(published):
    store = opened()
    write_through_feast(published, [7, 8], AT.replace(tzinfo=None) + timedelta(hours=1))  # Feast's naive means UTC
    served = online.read_vectors(store, ["a"], 2, DIGEST)
    assert served.values.tolist() == [[7, 8]]
    assert served.as_of[0].item().replace(tzinfo=UTC) == AT + timedelta(hours=1)
    write_through_feast(published, [9, 9], AT, AT)
    assert online.read_vectors(store, ["a"], 2, DIGEST).values.tolist() == [[7, 8]]


def test_a_view_that_is_gone_loses_its_table(published):
    store, keys = feast(published), vectors.entity_keys(IDS)
    view = store.get_feature_view(online.PROFILE.view)
    store.apply([], objects_to_delete=[view], partial=False)
    assert None not in opened().read(keys, (online.VECTOR,))
    with pytest.raises(FeatureError, match="nothing is published"):
        opened().read(keys, (online.PROFILE,))


def test_teardown_leaves_nothing(published):
    feast(published).teardown()
    assert not list(published.glob("online.db*"))
    with pytest.raises(FeatureError, match="nothing is published"):
        opened().read(vectors.entity_keys(IDS), (online.VECTOR,))


def test_what_stock_feast_writes_we_read_and_replace(published):
    """Feast's own store in its own way: whole values, an instant beside them, and nothing about who made them when."""
    store = feast(published, "stock")
    view, key = store.get_feature_view(online.VECTOR.view), EntityKey(join_keys=["user_id"])
    key.entity_values.append(Value(string_val="new"))
    vector = Value(double_list_val=DoubleList(val=[vectors.catalogue_number(DIGEST), 7.0, 8.0]))
    provider = store._get_provider()
    at = AT.replace(tzinfo=None)
    provider.online_write_batch(store.config, view, [(key, {"vector": vector}, at, None)], None)
    if isinstance(opened(), online.SqliteStore):
        return  # Feast's SQLite store keeps local time as text, which ours never does: see the test of zones
    served = online.read_vectors(opened(), ["new"], 2, DIGEST)
    assert served.values.tolist() == [[7, 8]]
    assert served.as_of[0].item() == at
    packed = vectors.pack(np.full((1, 2), 9.0), DIGEST)[0]
    with opened().publication() as writer:
        row = (vectors.entity_keys(["new"])[0], packed)
        assert writer.write({online.VECTOR: [(*row, int(AT.timestamp()) - 1, None)]}) == {online.VECTOR: 0}
        assert writer.write({online.VECTOR: [(*row, int(AT.timestamp()), None)]}) == {online.VECTOR: 1}


def test_no_password_is_in_feasts_configuration(published):
    password = urlsplit(load().online_uri).password
    assert password is None or password not in repr(feast(published).config)


def test_a_relative_path_lies_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    config = feast(tmp_path).config
    assert VectorOnlineStore._get_db_path(config) == str(tmp_path / "online.db")
    assert issubclass(VectorOnlineStore, SqliteOnlineStore)
