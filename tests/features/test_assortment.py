"""What the shop sells and what each store carries, from sources and sales to a worker's arrays."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import load
from configs.errors import ConfigError, FeatureError, SourceError
from configs.history import code
from features import online
from features.assortment import Offered, load_assortment, read_assortment, write_assortment
from features.build import build
from features.ingest import ingest
from features.publish import publish
from features.shelf import Item, Shelf
from features.sources import load_source

NOW = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NULLS = dict.fromkeys(("channel", "category_id", "store_id", "order_id", "quantity", "amount", "props"))
MAPPING = """
read: {kind: parquet, files: events.parquet}
dedup: none
columns: {user_id: user_id, event_type: event_type, event_at: event_at, ingested_at: event_at, item_id: item_id,
          category_id: category_id, store_id: store_id, quantity: quantity, amount: amount}
"""
ENTITIES = """
entities:
  items:
    read: {kind: parquet, files: items.parquet}
    columns: {item_id: item_id, name: name, price: price, stock: stock, is_slow_moving: slow, valid_to: valid_to}
  store_items:
    read: {kind: parquet, files: store_items.parquet}
    columns: {store_id: store_id, item_id: item_id, stock: stock}
"""


def event(user, kind, days, item, **columns):
    return {**NULLS, "user_id": user, "event_type": kind, "event_at": NOW - days * DAY, "item_id": item, **columns}


EVENTS = [
    event("a", "purchase", 10, "i1", category_id="c1", store_id="s1", quantity=2.0, amount=10.0),
    event("a", "purchase", 20, "i3", category_id="c2", store_id="s1", quantity=1.0, amount=7.0),
    event("a", "purchase", 100, "i2", category_id="c1", store_id="s1", quantity=1.0, amount=4.0),
    event("b", "purchase", 89, "i2", category_id="c1", store_id="s2", quantity=1.0, amount=6.0),
    event("b", "purchase", 90, "i1", store_id="s2", quantity=1.0, amount=6.0),
    event("b", "view", 1, "i4", category_id="c3", store_id="s1"),
    event("b", "purchase", 400, "i5", quantity=4.0, amount=2.0),
]


def home_of(tmp_path, entities):
    tmp_path.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(EVENTS), tmp_path / "events.parquet")
    items = [
        {"item_id": "i1", "name": "茶", "price": 6.5, "stock": 3, "slow": False, "valid_to": None},
        {"item_id": "i9", "name": "new", "price": None, "stock": None, "slow": True, "valid_to": NOW},
        {"item_id": "i2", "name": "two", "price": None, "stock": 0, "slow": None, "valid_to": None},
    ]
    pq.write_table(pa.Table.from_pylist(items), tmp_path / "items.parquet")
    carried = [("s1", "i9", 4.0), ("s1", "i1", None), ("s3", "i7", None)]
    carried = [dict(zip(("store_id", "item_id", "stock"), row, strict=True)) for row in carried]
    pq.write_table(pa.Table.from_pylist(carried), tmp_path / "store_items.parquet")
    mapping = tmp_path / "mine.yaml"
    mapping.write_text(MAPPING + (ENTITIES if entities else ""))
    config = load(tmp_path / "home", now=NOW)
    ingest(config, mapping, tmp_path)
    build(config, [NOW], tables=("user", "item"))
    return config


def loaded(config):
    store = online.open_store(config.online_uri)
    return load_assortment(store), store.assortment_stamp()


@pytest.fixture(autouse=True)
def own_online_store(online_store, request, monkeypatch):
    """With either store; a test that makes its own home finds nothing published."""
    if "told" not in request.fixturenames:
        online_store.fresh(monkeypatch)


@pytest.fixture(scope="module")
def told(tmp_path_factory, online_store):
    """Published with what the sources say of items and stores."""
    config = home_of(tmp_path_factory.mktemp("told"), entities=True)
    assert publish(config, NOW).items == 7
    return config


def test_the_source_says_first_the_features_fill_in(told):
    assortment, stamp = loaded(told)
    assert assortment.stamp == stamp
    assert assortment.as_of_us == int(NOW.timestamp()) * 1_000_000
    assert assortment.item_ids == ("i1", "i2", "i3", "i4", "i5", "i7", "i9")
    assert assortment.item("i1") == Item("i1", "c1", "茶", 6.5, None, 3.0, False, None, None)
    assert assortment.item("i2") == Item("i2", "c1", "two", 6.0, None, 0.0, None, None, None)  # the last 90 days' price
    assert assortment.item("i3") == Item("i3", "c2", None, 7.0, None, None, None, None, None)
    assert assortment.item("i4") == Item("i4", "c3", None, None, None, None, None, None, None)
    assert assortment.item("i5").price == 0.5  # none sold lately: of all sales
    assert assortment.item("i7") == Item("i7", *[None] * 8)
    assert assortment.item("i9") == Item("i9", None, "new", None, None, None, True, None, assortment.as_of_us)
    assert assortment.item("i0") is None
    assert assortment.codes.tolist() == [code(one) for one in assortment.item_ids]
    assert assortment.place_of_code[code("i3")] == assortment.place["i3"] == 2


def test_a_store_carries_what_is_said_or_else_what_it_sold(told, tmp_path, online_store, monkeypatch):
    assortment, _ = loaded(told)
    asked = ["i1", "i2", "i3", "i9", "i7", "unknown"]
    assert sorted(assortment.shelves) == ["s1", "s2", "s3"]
    assert assortment.carried("s1", asked).tolist() == [True, False, False, True, False, False]
    assert assortment.carried("s2", asked).tolist() == [False, True, False, False, False, False]  # (.. - 90 d, ..]
    assert assortment.carried("s4", asked) is None
    assert assortment.carried("s1", []).tolist() == []
    np.testing.assert_equal(assortment.stock_of(asked, "s1"), [np.nan, 0, 0, 4, 0, 0])
    np.testing.assert_equal(assortment.stock_of(asked, "s2"), [np.nan] * 6)
    np.testing.assert_equal(assortment.stock_of(asked), [3, 0, np.nan, np.nan, np.nan, np.nan])
    online_store.fresh(monkeypatch)
    plain, _ = loaded_without(tmp_path)
    assert sorted(plain.shelves) == ["s1", "s2"]
    assert plain.carried("s1", asked).tolist() == [True, False, True, False, False, False]
    assert plain.item("i1") == Item("i1", "c1", None, 5.0, None, None, None, None, None)


def loaded_without(tmp_path):
    config = home_of(tmp_path / "plain", entities=False)
    publish(config, NOW)
    return loaded(config)


def test_the_stamp_changes_with_the_content_and_an_older_one_never_wins(told):
    before = loaded(told)[1]
    publish(told, NOW)
    assert loaded(told)[1] == before
    offered = read_assortment(told, NOW)
    cheaper = Offered([(*row[:4], 1.0, *row[5:]) for row in offered.items], offered.stores)
    at = int(NOW.timestamp())
    with online.open_store(told.online_uri).publication() as writer:
        assert not write_assortment(writer, cheaper, at - 1)
    assert loaded(told)[1] == before
    with online.open_store(told.online_uri).publication() as writer:
        assert write_assortment(writer, cheaper, at)
    assert loaded(told)[1] == cheaper.stamp != before
    assert set(loaded(told)[0].price) == {1.0}

    def dying():
        with online.open_store(told.online_uri).publication() as writer:
            write_assortment(writer, offered, at)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        dying()  # in the file, a publication that dies takes its assortment along
    whole = isinstance(online.open_store(told.online_uri), online.SqliteStore)
    assert loaded(told)[1] == (cheaper.stamp if whole else before)
    publish(told, NOW)
    assert loaded(told)[1] == before


def test_nothing_published_says_what_to_run(tmp_path):
    store = online.open_store(load(tmp_path).online_uri)
    with store.publication():
        pass
    assert store.assortment_stamp() is None
    with pytest.raises(FeatureError, match="userops features publish"):
        load_assortment(store)


def test_a_shop_without_items_has_none(tmp_path):
    store = online.open_store(load(tmp_path).online_uri)
    with store.publication() as writer:
        write_assortment(writer, Offered([], []), 0)
    assortment = load_assortment(store)
    assert (len(assortment), assortment.item("x"), assortment.carried("s", ["x"])) == (0, None, None)
    assert Shelf.of(b"", None).find(np.array([0], np.int32)).tolist() == [-1]
    np.testing.assert_equal(assortment.stock_of(["x"]), [np.nan])


def test_a_pair_needs_both_keys(tmp_path):
    mapping = tmp_path / "mine.yaml"
    mapping.write_text(MAPPING + ENTITIES.replace("item_id: item_id, stock: stock}", "stock: stock}"))
    with pytest.raises(ConfigError, match="store_id, item_id"):
        load_source(mapping)
    mapping.write_text(MAPPING + ENTITIES)
    pq.write_table(pa.Table.from_pylist(EVENTS), tmp_path / "events.parquet")
    row = {"store_id": "s1", "item_id": None, "stock": 1.0}
    pq.write_table(pa.Table.from_pylist([row, row | {"item_id": "i"}]), tmp_path / "store_items.parquet")
    with pytest.raises(SourceError, match="without store_id, item_id"):
        ingest(load(tmp_path / "home", now=NOW), mapping, tmp_path)
