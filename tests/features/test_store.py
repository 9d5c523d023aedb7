"""The door to Feast: point-in-time history, publication, the online read, and the proof that they agree."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import load
from configs.errors import CatalogueMismatch, FeatureError
from features import online, publish, snapshots, vectors
from features import store as store_module
from features.catalog import NAMES, digest
from features.store import Store

DAY = timedelta(days=1)
FIRST, SECOND = datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 2, 15, tzinfo=UTC)
NOW = datetime(2024, 3, 1, tzinfo=UTC)
USERS = [f"用户 {number}" for number in range(30)]
A, B = NAMES[0], NAMES[1]


def values_of(as_of, users=USERS):
    """Feature ``j`` of user ``i`` at a snapshot: a number that says which of them it is; every seventh is absent."""
    numbers = np.add.outer(np.arange(len(users)) * 1000.0, np.arange(len(NAMES))) + as_of.day / 100
    return np.where(np.add.outer(np.arange(len(users)), np.arange(len(NAMES))) % 7 == 3, np.nan, numbers)


def write(home, as_of, users=USERS, values=None, built_at=None, names=NAMES, profiles=True):
    values = values_of(as_of, users) if values is None else values
    order = np.random.default_rng(3).permutation(len(users))
    keys = {
        "user_id": [users[place] for place in order],
        "as_of": pa.array([as_of] * len(users), pa.timestamp("us", "UTC")),
        "built_at": pa.array([built_at or as_of + DAY] * len(users), pa.timestamp("us", "UTC")),
    }
    columns = {name: pa.array(values[order, number], from_pandas=True) for number, name in enumerate(names)}
    tables = {"user": keys | columns}
    if profiles:
        tables["profile"] = keys | {"profile": [json.dumps({"of": users[place], "day": as_of.day}) for place in order]}
    for table, content in tables.items():
        path = home / "features" / table / f"{as_of:%Y-%m-%dT%H%M%S}Z.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(content), path)
    return home / "features" / "user" / f"{as_of:%Y-%m-%dT%H%M%S}Z.parquet"


def build_home(home):
    write(home, FIRST)
    write(home, SECOND)
    return Store(load(home, now=NOW))


@pytest.fixture(autouse=True)
def own_online_store(online_store, request, monkeypatch):
    """With either store; a test that makes its own home finds nothing published."""
    if "store" not in request.fixturenames:
        online_store.fresh(monkeypatch)


@pytest.fixture(scope="module")
def store(tmp_path_factory, online_store):
    """Two snapshots, both published; no test may change it."""
    store = build_home(tmp_path_factory.mktemp("home"))
    store.publish()
    return store


@pytest.fixture
def quick(tmp_path, monkeypatch, own_online_store):
    """A store of its own whose publications do not wait for Feast's registry."""
    monkeypatch.setattr(Store, "_tell_feast", lambda *_, **__: None)
    return build_home(tmp_path)


def keys_of(users, instants, **more):
    frame = pd.DataFrame({"user_id": users, "as_of": pd.Series(instants, dtype="datetime64[us, UTC]"), **more})
    return frame.set_axis([5] * len(frame))  # nothing may rely on the index


# ── history ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_history_keeps_rows_order_labels_and_index(store):
    keys = keys_of(
        [USERS[2], USERS[0], USERS[2], "nobody", USERS[2]],
        [SECOND, FIRST, SECOND - DAY, SECOND, FIRST - DAY],
        label=[1, 0, 1, 0, 1],
        user_no=["kept"] * 5,
    )
    history = store.historical(keys, [B, A])
    assert history.columns.tolist() == ["user_id", "as_of", "label", "user_no", B, A]
    pd.testing.assert_frame_equal(history[keys.columns], keys)
    second, first = values_of(SECOND), values_of(FIRST)
    nothing = [np.nan, np.nan]
    expected = [second[2, [1, 0]], first[0, [1, 0]], first[2, [1, 0]], nothing, nothing]
    assert np.array_equal(history[[B, A]].to_numpy(), expected, equal_nan=True)
    assert history[[B, A]].dtypes.unique().tolist() == [np.dtype("float64")]


def test_history_older_than_the_ttl_is_absent(store):
    at_ttl, after = SECOND + timedelta(days=31), SECOND + timedelta(days=31, microseconds=1)
    history = store.historical(keys_of([USERS[1]] * 2, [at_ttl, after]), [A])
    assert history[A].isna().tolist() == [False, True]


def test_history_gives_every_feature_unless_told(store):
    history = store.historical(keys_of(USERS, [SECOND] * len(USERS)))
    assert np.array_equal(history[list(NAMES)].to_numpy(), values_of(SECOND), equal_nan=True)


def test_no_keys_no_history(store):
    assert store.historical(keys_of([], []), [A]).columns.tolist() == ["user_id", "as_of", A]


@pytest.mark.parametrize(
    ("keys", "features", "message"),
    [
        (pd.DataFrame({"user_id": ["a"]}), [A], "lack a column"),
        (pd.DataFrame({"user_id": ["a"], "as_of": [datetime(2024, 1, 1)]}), [A], "aware"),  # noqa: DTZ001
        (pd.DataFrame({"user_id": [1], "as_of": [NOW]}), [A], "must be text"),
        (pd.DataFrame({"user_id": ["a"], "as_of": [NOW]}), ["no_such"], "no such feature"),
        (pd.DataFrame({"user_id": ["a"], "as_of": [NOW], A: [1]}), [A], "hold a feature already"),
    ],
)
def test_wrong_questions_are_refused(store, keys, features, message):
    with pytest.raises(FeatureError, match=message):
        store.historical(keys, features)


def test_history_without_a_snapshot_says_what_to_run(tmp_path):
    with pytest.raises(FeatureError, match="userops features build"):
        Store(load(tmp_path, now=NOW)).historical(keys_of(["a"], [NOW]), [A])


def test_a_planted_leak_is_visible_in_hindsight_and_not_as_known_then(tmp_path):
    """A feature equal to the label, put into the past after the fact: only ``built_at`` gives it away."""
    labels = np.arange(len(USERS)) % 2.0
    leaking = values_of(FIRST)
    leaking[:, 0] = labels
    write(tmp_path, FIRST - 7 * DAY, built_at=FIRST - 7 * DAY)
    write(tmp_path, FIRST, values=leaking, built_at=FIRST + 40 * DAY)
    store = Store(load(tmp_path, now=NOW + 40 * DAY))
    keys = keys_of(USERS, [FIRST] * len(USERS), label=labels)

    def agreement(known_at):
        history = store.historical(keys, [A], known_at)
        return (history[A] == history["label"]).mean()

    assert agreement(None) == 1.0, "hindsight does not see the leak: this test proves nothing"
    assert agreement(FIRST + 40 * DAY) == 1.0
    assert agreement("as_of") < 0.1
    assert agreement(FIRST + 39 * DAY) < 0.1


def test_rows_changed_on_the_way_are_refused(store, monkeypatch):
    class Swapped:
        def get_historical_features(self, entity_df, **_):
            return self

        def to_arrow(self):
            return pa.table({store_module.ROW: [1, 0], A: [0.0, 1.0]})

    monkeypatch.setitem(store.__dict__, "_feast", Swapped())
    monkeypatch.setattr(Store, "_applied", lambda _: None)
    with pytest.raises(FeatureError, match="changed the rows"):
        store.historical(keys_of(USERS[:2], [SECOND] * 2), [A])


# ── publication and the online read ─────────────────────────────────────────────────────────────────────────────────


def test_a_publication_states_what_it_wrote(tmp_path):
    progress = []
    store = build_home(tmp_path)
    published = store.publish(SECOND - DAY, lambda *step: progress.append(step))
    assert published.as_of == FIRST
    assert (published.users, published.profiles, published.skipped_older) == (30, 30, 0)
    assert published.rows_written == 60
    assert published.values_written == 30 * len(NAMES) + 30
    assert published.digest == digest()
    assert progress == [("vectors", 1.0), ("profiles", 1.0)]
    # Feast's users see it as the materialization that it is.
    for cell in (online.VECTOR, online.PROFILE):
        assert store.feast().get_feature_view(cell.view).most_recent_end_time == FIRST


def test_online_equals_the_newest_snapshot(store):
    served = store.online([*USERS, "nobody"])
    assert np.array_equal(served.values[:-1], values_of(SECOND), equal_nan=True)
    assert served.found.tolist() == [True] * len(USERS) + [False]
    assert set(served.as_of[:-1].tolist()) == {SECOND.replace(tzinfo=None)}
    assert store.profiles([USERS[3], "nobody"]) == [{"of": USERS[3], "day": 15}, None]


def test_an_older_snapshot_never_replaces_a_newer_one(quick):
    newer, older = quick.publish(SECOND), quick.publish(FIRST)
    assert (newer.skipped_older, older.skipped_older, older.rows_written) == (0, 30, 0)
    assert np.array_equal(quick.online(USERS).values, values_of(SECOND), equal_nan=True)


def test_a_snapshot_built_again_replaces_itself(quick):
    quick.publish(SECOND)
    write(quick.config.home, SECOND, values=values_of(SECOND) + 0.5, built_at=SECOND + 2 * DAY)
    assert quick.publish(SECOND).skipped_older == 0
    assert np.array_equal(quick.online(USERS).values, values_of(SECOND) + 0.5, equal_nan=True)
    write(quick.config.home, SECOND, built_at=SECOND)
    assert quick.publish(SECOND).skipped_older == 30


def test_users_who_left_the_snapshot_go(quick):
    quick.publish(FIRST)
    write(quick.config.home, SECOND, users=USERS[:10], profiles=False)
    published = quick.publish(SECOND)
    assert (published.users, published.profiles) == (10, 30)
    served = quick.online([USERS[0], USERS[20]])
    assert served.as_of.tolist() == [SECOND.replace(tzinfo=None), None]
    assert served.found.tolist() == [True, False]
    assert None not in quick.profiles([USERS[0], USERS[20]])  # the profiles are still those of the first snapshot


def test_an_older_snapshot_takes_nobody_away(quick):
    quick.publish(SECOND)
    write(quick.config.home, FIRST, users=USERS[:10])
    quick.publish(FIRST)
    assert quick.online(USERS).found.all()


def test_publication_goes_in_chunks(quick, monkeypatch):
    monkeypatch.setattr(publish, "CHUNK", 4)
    progress = []
    quick.publish(SECOND, lambda *step: progress.append(step))
    assert len(progress) > 2
    assert progress[-1] == ("profiles", 1.0)
    assert np.array_equal(quick.online(USERS).values, values_of(SECOND), equal_nan=True)


def test_all_of_a_user_comes_at_once_whatever_the_tables_hold(quick, monkeypatch):
    """Histories of some, profiles of others, in any order, chunks of several sizes: no turn splits a user."""
    for column, some in (("history", USERS[::-3][::-1]), ("profile", USERS[:4:-1])):
        path = quick.config.home / "features" / column / f"{SECOND:%Y-%m-%dT%H%M%S}Z.parquet"
        path.parent.mkdir(exist_ok=True)
        stamps = {name: pa.array([SECOND] * len(some), pa.timestamp("us", "UTC")) for name in ("as_of", "built_at")}
        content = [[1.0] * 6 if column == "history" else "{}"] * len(some)
        pq.write_table(pa.table({"user_id": some, **stamps, column: content}), path)
    monkeypatch.setattr(publish, "CHUNK", 7)
    monkeypatch.setattr(publish, "_BESIDE", tuple((*one[:4], 2 + place) for place, one in enumerate(publish._BESIDE)))
    calls, together = [], publish._together
    monkeypatch.setattr(publish, "_together", lambda columns: calls.extend(turns := list(together(columns))) or turns)
    quick.publish(SECOND)
    seen = [{user for part in turn if part is not None for user in part.ids} for turn in calls]
    assert len(seen) > 10
    assert sum(len(turn) for turn in seen) == len(set().union(*seen)) == len(USERS)
    assert quick.profiles(USERS) == [None] * 5 + [{}] * (len(USERS) - 5)
    has = {user: user in USERS[::-3] for user in USERS}
    assert [quick.decision_row(user).history.size for user in USERS] == [6 * has[user] for user in USERS]


def test_what_lies_in_the_order_of_users_is_not_sorted(tmp_path):
    with duckdb.connect() as connection:
        ids = sorted(USERS)
        for name, users in (("in order", ids), ("backwards", ids[::-1]), ("twice", [*ids, ids[-1]])):
            pq.write_table(pa.table({"user_id": users}), tmp_path / name, row_group_size=3)
            assert publish._in_order(connection, tmp_path / name) == (name == "in order"), name


def test_nothing_at_or_before_the_instant_is_refused(quick):
    with pytest.raises(FeatureError, match="no snapshot of user features") as refusal:
        quick.publish(FIRST - DAY)
    assert "2 later ones" in str(refusal.value)


def test_a_foreign_file_among_the_snapshots_is_named(quick):
    (quick.config.home / "features" / "user" / "copy.parquet").touch()
    with pytest.raises(FeatureError, match=r"copy\.parquet is not a snapshot"):
        quick.publish(SECOND)


# ── catalogues ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_snapshots_of_another_catalogue_are_refused(quick):
    shuffled = (NAMES[1], NAMES[0], *NAMES[2:])
    write(quick.config.home, SECOND, names=shuffled)
    for ask in (quick.publish, lambda: quick.historical(keys_of(USERS[:1], [SECOND]), [A])):
        with pytest.raises(CatalogueMismatch, match="another feature catalogue"):
            ask()


def test_a_file_that_names_another_catalogue_is_refused(quick):
    path = write(quick.config.home, SECOND)
    table = pq.read_table(path)
    for name, fine in ((digest(), True), ("sha256:" + "0" * 64, False)):
        pq.write_table(table.replace_schema_metadata({snapshots.DIGEST_KEY: name}), path)
        if fine:
            quick.publish()
        else:
            with pytest.raises(CatalogueMismatch):
                quick.publish()


def test_a_reader_of_another_catalogue_gets_no_vector(quick):
    quick.publish()
    other = Store(quick.config)
    other.digest = "sha256:" + "f" * 64
    for user in (USERS[0], "nobody"):
        with pytest.raises(CatalogueMismatch):
            other.online([user])


def test_publishing_a_new_catalogue_leaves_none_of_the_old(quick):
    old = "sha256:" + "f" * 64
    with quick.published.publication() as writer:
        writer.create(online.VECTOR.view)
        packed = vectors.pack(np.ones((2, len(NAMES))), old)
        ids = vectors.entity_keys([USERS[0], "gone"])
        rows = [(key, value, int(NOW.timestamp()), 0) for key, value in zip(ids, packed, strict=True)]
        writer.write({online.VECTOR: rows})
        writer.record(online.VECTOR.view, old, 0, 0, 2)
    assert quick.publish().skipped_older == 0
    served = quick.online([USERS[0], "gone"])
    assert served.found.tolist() == [True, False]


# ── parity ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_training_service_and_feast_see_the_same(store):
    parity = store.parity(20)
    assert parity.users == 20
    assert parity.equal


def test_parity_names_what_differs(tmp_path):
    store = build_home(tmp_path)
    store.publish()
    tampered = values_of(SECOND)
    tampered[4, 1] += 1
    write(tmp_path, SECOND, values=tampered)
    assert store.parity(30).differing == ((USERS[4], B),)
    assert store.inspect(USERS[4]).differing == (B,)


def test_inspect_shows_both_sides(store):
    seen = store.inspect(USERS[2])
    assert seen.as_of == SECOND
    assert seen.offline == seen.online
    assert seen.differing == ()
    assert seen.profile == {"of": USERS[2], "day": 15}
    expected = values_of(SECOND)[2]
    assert [seen.online[name] for name in NAMES] == [None if np.isnan(value) else value for value in expected]
    with pytest.raises(FeatureError, match="nobody knows"):
        store.inspect("nobody")


# ── the process ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_reading_online_imports_no_feast(store):
    code = f"""
import sys
from configs import load
from features.store import Store
assert Store(load({str(store.config.home)!r})).online([{USERS[0]!r}]).found.all()
loaded = {{"feast", "mlflow", "sqlalchemy"}} & set(sys.modules)
assert not loaded, loaded
import features.online
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[2])
