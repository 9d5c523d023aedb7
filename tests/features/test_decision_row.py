"""Everything that a decision reads of a user comes from one statement and one state, and stock Feast reads it too."""

import json
import sqlite3
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import load
from configs.errors import CatalogueMismatch, FeatureError
from configs.history import HISTORY_LINES, History, merge, pack, unpack
from features import online, vectors
from features.catalog import NAMES
from features.publish import publish
from features.store import Store

AS_OF = datetime(2024, 2, 1, tzinfo=UTC)
USERS = ["a", "b", "用户", "none"]
VECTORS = np.arange(len(USERS) * len(NAMES), dtype=float).reshape(len(USERS), -1) / 7
VECTORS[1, 3:] = np.nan
HISTORIES = {"a": [0.5, 2**52, 1.7e15, 2.0, -1.0, 0.0] * HISTORY_LINES, "b": [], "用户": [1.0] * 6}


@pytest.fixture(autouse=True)
def own_online_store(online_store, request, monkeypatch):
    """With either store; a test that makes its own home finds nothing published."""
    if "store" not in request.fixturenames:
        online_store.fresh(monkeypatch)


@pytest.fixture(scope="module")
def store(tmp_path_factory, online_store):
    home = tmp_path_factory.mktemp("home")

    def write(table, users, **columns):
        stamps = {name: pa.array([AS_OF] * len(users), pa.timestamp("us", "UTC")) for name in ("as_of", "built_at")}
        path = home / "features" / table / "2024-02-01T000000Z.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"user_id": users, **stamps, **columns}), path)

    write("user", USERS, **{name: pa.array(VECTORS[:, n], from_pandas=True) for n, name in enumerate(NAMES)})
    write("profile", USERS[:3], profile=[json.dumps({"of": user}) for user in USERS[:3]])
    write("history", list(HISTORIES), history=pa.array(list(HISTORIES.values()), pa.list_(pa.float64())))
    config = load(home, now=AS_OF)
    published = publish(config, AS_OF)
    assert (published.users, published.profiles, published.histories, published.items) == (4, 3, 3, 0)
    assert (published.rows_written, published.values_written) == (10, 4 * len(NAMES) + 6)
    return Store(config)


def test_one_row_holds_all_that_is_published(store):
    for place, user in enumerate(USERS):
        row = store.decision_row(user)
        assert row.found
        assert row.as_of_us == int(AS_OF.timestamp()) * 1_000_000
        np.testing.assert_equal(row.vector, VECTORS[place])
        np.testing.assert_equal(row.vector, store.online([user]).values[0])
        assert row.history.tolist() == HISTORIES.get(user, [])
        assert row.profile == store.profiles([user])[0]
    assert len(unpack(store.decision_row("a").history)) == HISTORY_LINES


def test_an_unknown_user_is_a_row_of_nothing(store):
    row = store.decision_row("nobody")
    assert (row.found, row.as_of_us, row.profile, row.history.size) == (False, 0, None, 0)
    assert np.isnan(row.vector).all()
    assert row.vector.shape == (len(NAMES),)
    with pytest.raises(FeatureError, match="text"):
        store.decision_row(7)


def test_it_is_one_question(store, monkeypatch):
    seen = []
    store.decision_row("a")
    if isinstance(store.published, online.SqliteStore):
        store.published.connection.set_trace_callback(seen.append)
        store.decision_row("b")
        store.published.connection.set_trace_callback(None)
    else:
        ask = store.published._reading.execute_command
        monkeypatch.setattr(store.published._reading, "execute_command", lambda *a: seen.append(a) or ask(*a))
        store.decision_row("b")
    assert len(seen) == 1


def test_stock_feast_reads_the_same(store):
    answer = store.feast()
    store.apply()
    found = answer.get_online_features(
        features=["user_history:history", "user_vector:vector", "user_profile:profile"],
        entity_rows=[{"user_id": user} for user in ("a", "用户", "nobody")],
    ).to_dict()
    assert found["history"][:2] == [HISTORIES["a"], HISTORIES["用户"]]
    assert found["history"][2] is None
    np.testing.assert_equal(found["vector"][0][1:], VECTORS[0])
    assert json.loads(found["profile"][1]) == {"of": "用户"}


def test_another_catalogue_or_nothing_is_refused(store, tmp_path, online_store, monkeypatch):
    other = Store(store.config)
    other.digest = "sha256:" + "f" * 64
    for user in ("a", "nobody"):
        with pytest.raises(CatalogueMismatch):
            other.decision_row(user)
    online_store.fresh(monkeypatch)
    with pytest.raises(FeatureError, match="userops features publish"):
        Store(load(tmp_path, now=AS_OF)).decision_row("a")
    sqlite3.connect(online.path_of(tmp_path)).close()
    with pytest.raises(FeatureError, match="userops features publish"):
        Store(load(tmp_path, now=AS_OF)).decision_row("a")


LINES = st.lists(
    st.tuples(
        *[st.integers(0, 2**52 - 1)] * 2,
        st.integers(0, 2**53 - 1),
        st.integers(0, 2),
        st.floats(allow_nan=False),
        st.integers(0, 2**52 - 1),
    ),
    max_size=300,
)


@given(LINES, LINES)
def test_histories_survive_packing_bytes_and_merging(lines, fresh):
    history = History.of(lines)
    back = unpack(vectors.unpack_list(vectors.pack_list(pack(history).astype("<f8").tobytes())))
    expected = sorted(lines, key=lambda line: line[2])[-HISTORY_LINES:]
    assert rows(back) == expected
    both = sorted([*expected, *sorted(fresh, key=lambda line: line[2])[-HISTORY_LINES:]], key=lambda line: line[2])
    assert rows(merge(history, History.of(fresh))) == both[-HISTORY_LINES:]


def rows(history):
    columns = (history.item, history.category, history.at_us, history.kind, history.quantity, history.order)
    return list(zip(*(column.tolist() for column in columns), strict=True))
