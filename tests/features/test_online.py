"""The contract of the online stores: all of a user at once, nothing older over anything newer, whatever happens."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import CatalogueMismatch, FeatureError
from features import online, vectors
from features.online import contract, sqlite_store

FEATURES = 3
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
USERS = [f"user {number}" for number in range(60)]
ITEMS = [(0, "i1", "c1", "茶", 6.5, None, 3.0, 0, None, 17), (1, "i2", None, None, None, None, None, None, None, None)]
STORES = [("s1", b"\x00\x01\xff\x00", None), ("店", b"", b"\x00" * 8)]


@pytest.fixture
def uri(online_store, tmp_path, monkeypatch):
    """The address of an empty store."""
    return online_store.fresh(monkeypatch) or f"sqlite:///{tmp_path / 'home' / 'online.db'}"


@pytest.fixture
def store(uri):
    store = online.open_store(uri)
    yield store
    store.close()


def rows_of(users, value, at, made=None, digest=DIGEST):
    packed = vectors.pack(np.full((len(users), FEATURES), float(value)), digest)
    return [(key, one, at, made) for key, one in zip(vectors.entity_keys(users), packed, strict=True)]


def publish(store, users, value, at, made=None, digest=DIGEST):
    with store.publication() as writer:
        writer.create(online.VECTOR.view)
        written = writer.write({online.VECTOR: rows_of(users, value, at, made, digest)})[online.VECTOR]
        writer.record(online.VECTOR.view, digest, at, at, written)
    return written


def read(store, users, digest=DIGEST):
    return online.read_vectors(store, users, FEATURES, digest)


def test_vectors_come_back_in_the_order_asked(store):
    publish(store, ["a"], 1, at=100)
    publish(store, ["b"], 2, at=86_400)
    served = read(store, ["b", "nobody", "a", "b"])
    assert served.found.tolist() == [True, False, True, True]
    assert np.array_equal(served.values[:, 0], [2, np.nan, 1, 2], equal_nan=True)
    assert served.as_of.dtype == "datetime64[us]"
    assert np.isnat(served.as_of[1])
    assert served.as_of[[0, 2]].tolist() == np.array(["1970-01-02", "1970-01-01T00:01:40"], "datetime64[us]").tolist()


def test_nobody_asked_nothing_read(store):
    publish(store, ["a"], 1, at=100)
    served = read(store, [])
    assert served.values.shape == (0, FEATURES)
    assert served.found.shape == served.as_of.shape == (0,)


@pytest.mark.parametrize(
    ("at", "made", "wins"),
    [(101, None, True), (99, 999, False), (100, 51, True), (100, 50, True), (100, 49, False), (100, None, False)],
)
def test_a_row_gives_way_only_to_one_that_is_not_older(store, at, made, wins):
    publish(store, ["a"], 1, at=100, made=50)
    assert publish(store, ["a", "new"], 2, at=at, made=made) == 1 + wins
    assert read(store, ["a"]).values[0, 0] == (2 if wins else 1)


INSTANTS = st.one_of(st.sampled_from([0, 1, 127, 128, 2**31, 2**35]), st.integers(0, 3))
WRITES = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from([online.VECTOR, online.PROFILE, online.HISTORY]),
            st.lists(
                st.tuples(st.sampled_from(["a", "b", "用户"]), st.binary(min_size=1, max_size=9), INSTANTS, INSTANTS)
            ),
        ),
        st.one_of(st.none(), INSTANTS),
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES)
def test_any_writes_leave_the_newest_of_each_cell(store, writes):
    store.erase()
    cells = (online.VECTOR, online.PROFILE, online.HISTORY)
    expected = {}
    for rows, oldest in writes:
        with store.publication() as writer:
            for cell in cells:
                writer.create(cell.view)
            new = {cell: [(*vectors.entity_keys([user]), *row) for user, *row in some] for cell, some in rows.items()}
            counted = writer.write(new)
            if oldest is not None:
                writer.drop_older(dict.fromkeys(cells, oldest))
        for cell, some in rows.items():
            count = 0
            for user, value, at, made in some:
                if (at, made) >= expected.get((user, cell), (b"", -1, -1))[1:]:
                    expected[user, cell] = (value, at, made)
                    count += 1
            assert counted[cell] == count
        expected = {where: row for where, row in expected.items() if row[1] >= (oldest or 0)}
    users = ["用户", "b", "a"]
    if writes:
        found = store.read(vectors.entity_keys(users), cells)
        newest = {where: row[:2] for where, row in expected.items()}
        assert found == [tuple(newest.get((user, cell)) for cell in cells) for user in users]
        everybody = {key: row for part in store.scan(cells, 2) for key, row in part}
        those = {user: row for user, row in zip(users, found, strict=True) if row[0] is not None}
        assert everybody == {vectors.entity_keys([user])[0]: row for user, row in those.items()}


def test_users_who_are_not_in_the_snapshot_remain(store):
    publish(store, ["a", "b"], 1, at=100)
    publish(store, ["b"], 2, at=200)
    assert read(store, ["a", "b"]).values[:, 0].tolist() == [1, 2]


def test_an_error_leaves_what_was_there(store):
    publish(store, ["a"], 1, at=100)

    def fail_half_way():
        with store.publication() as writer:
            if isinstance(store, online.SqliteStore):
                writer.write({online.VECTOR: rows_of(["a", "b"], 2, at=200)})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert read(store, ["a", "b"]).values[0, 0] == 1
    assert read(store, ["a", "b"]).found.tolist() == [True, False]
    assert publish(store, ["a"], 2, at=200) == 1  # and nothing is locked


def test_another_catalogue_is_refused_found_or_not(store):
    publish(store, ["a"], 1, at=100, digest=OTHER)
    for users in (["a"], ["nobody"]):
        with pytest.raises(CatalogueMismatch, match="another feature catalogue") as refusal:
            read(store, users)
        assert "userops features publish" in str(refusal.value)


def test_values_of_another_catalogue_give_way_to_any_and_do_not_stay(store):
    publish(store, ["a", "gone"], 1, at=900, digest=OTHER)
    with store.publication() as writer:
        writer.only(online.VECTOR, vectors.prefix(FEATURES, DIGEST))
        assert writer.write({online.VECTOR: rows_of(["a"], 2, at=100)}) == {online.VECTOR: 1}
        # Who looks meanwhile for somebody is told why there is nobody; in the file he sees the state of before.
        with pytest.raises(CatalogueMismatch):
            read(online.open_store(store_uri(store)), ["nobody"])
        writer.drop_older({online.VECTOR: 0})
        writer.record(online.VECTOR.view, DIGEST, 100, 100, 1)
    assert read(store, ["a", "gone"]).found.tolist() == [True, False]


def store_uri(store):
    return os.environ.get("USEROPS_ONLINE") or f"sqlite:///{store.address}"


def test_vectors_of_another_length_are_refused(store):
    publish(store, ["a"], 1, at=100)
    with pytest.raises(CatalogueMismatch):
        online.read_vectors(store, ["a"], FEATURES + 1, DIGEST)


def test_reading_before_anything_is_published_says_what_to_run(store):
    for ask in (lambda: read(store, ["a"]), store.assortment, lambda: list(store.scan((online.VECTOR,), 5))):
        with pytest.raises(FeatureError, match="userops features publish"):
            ask()
    with store.publication():
        pass
    with pytest.raises(FeatureError, match="nothing is published"):
        read(store, ["a"])
    with pytest.raises(FeatureError, match="nothing is published"):
        store.assortment()
    assert store.last_publication(online.VECTOR.view) is None
    assert store.assortment_stamp() is None


def test_what_was_published_last_is_known(store):
    publish(store, ["a"], 1, at=100)
    expected = {"view": online.VECTOR.view, "digest": DIGEST, "as_of": 100, "published_at": 100, "rows_written": 1}
    assert store.last_publication(online.VECTOR.view) == expected
    assert store.last_publication(online.PROFILE.view) is None


def test_ids_are_found_by_how_they_begin(store):
    publish(store, ["ab", "a", "a*b", "b", "abc", "用户", "用户二", "a[b"], 1, at=1)

    def found(start, most=9):
        return [one.decode() for one in store.beginning(online.VECTOR, start.encode(), most)]

    assert found("a") == ["a", "ab", "a*b", "a[b", "abc"]
    assert (found("a*"), found("a["), found("用"), found("x")) == (["a*b"], ["a[b"], ["用户", "用户二"], [])
    assert found("ab", 1) == ["ab"]
    assert len(found("", 3)) == 3


def test_the_middle_instant_is_that_of_the_median_user(store):
    for number, at in enumerate((500, 100, 300, 200, 400)):
        publish(store, [f"u{number}"], 1, at=at)
    assert store.middle(online.VECTOR) == 300
    store.erase()
    with pytest.raises(FeatureError):
        online.open_store(store_uri(store)).middle(online.VECTOR)


def test_an_assortment_comes_back_as_it_was_and_never_an_older_one(store):
    def write(stamp, as_of, items=ITEMS):
        with store.publication() as writer:
            return writer.write_assortment((stamp, as_of, items, STORES))

    assert write("one", 5)
    assert (store.assortment_stamp(), store.assortment()) == ("one", ("one", 5, ITEMS, STORES))
    assert not write("older", 4, [])
    assert write("two", 5, ITEMS[:1])
    assert store.assortment() == ("two", 5, ITEMS[:1], STORES)


def test_a_reader_cannot_write(tmp_path):
    store = online.SqliteStore(tmp_path / "online.db")
    publish(store, ["a"], 1, at=100)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.connection.execute("DELETE FROM userops_user_vector")


def test_more_keys_than_one_statement_takes_are_read_from_one_state(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_store, "MOST_PARAMETERS", 7)
    store = online.SqliteStore(tmp_path / "online.db")
    publish(store, USERS, 1, at=100)
    select, turns = store._select, []

    def then_publish(*arguments):
        turns.append(publish(store, USERS, 2, at=200 + len(turns)))
        return select(*arguments)

    monkeypatch.setattr(store, "_select", then_publish)
    served = read(store, USERS)
    assert len(turns) == 9
    assert len(set(served.values[:, 0])) == 1, "a mixture of two publications"
    assert read(online.SqliteStore(store.path), USERS).values[0, 0] == 2


def test_one_store_serves_many_threads(store):
    publish(store, USERS, 1, at=100)
    answers = []

    def ask():
        answers.extend(read(store, USERS).values.sum() for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [len(USERS) * FEATURES] * 80


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"\x7a",
        b"\x7a\xff\xff\xff\xff\xff\x01",
        vectors.pack_list(b"\0" * 16)[:-1],
        vectors.pack_text("é")[:-1],
    ],
)
def test_bytes_that_no_publication_wrote_are_refused(value):
    for unpack in (vectors.unpack_list, vectors.unpack_text, vectors.unpack_json):
        with pytest.raises(FeatureError, match="no publication wrote"):
            unpack(value)
    with pytest.raises(FeatureError, match="no publication wrote"):
        vectors.unpack_json(vectors.pack_text("[1]"))


# ── second processes ────────────────────────────────────────────────────────────────────────────────────────────────

HELPERS = f"""
import sys, time, numpy as np
from features import online, vectors
from features.online import redis_store, redis_writer
redis_store.LOCK_SECONDS = redis_writer.LOCK_SECONDS = 1
store = online.open_store(sys.argv[1])
USERS = {USERS!r}
CELLS = (online.VECTOR, online.PROFILE, online.HISTORY)
def rows(value, at):
    packed = vectors.pack(np.full((len(USERS), {FEATURES}), float(value)), {DIGEST!r})
    return [(k, v, at, None) for k, v in zip(vectors.entity_keys(USERS), packed)]
"""


def start(code: str, uri: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HELPERS + code, uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def everything(value, at):
    """Vector, profile and history of everybody, of one publication."""
    keys = vectors.entity_keys(USERS)
    text, history = vectors.pack_text(f'{{"of": {value}}}'), vectors.pack_list(np.full(6, float(value)).tobytes())
    return {
        online.VECTOR: rows_of(USERS, value, at),
        online.PROFILE: [(key, text, at, None) for key in keys],
        online.HISTORY: [(key, history, at, None) for key in keys],
    }


def publish_everything(store, value, at):
    with store.publication() as writer:
        for cell in (online.VECTOR, online.PROFILE, online.HISTORY):
            writer.create(cell.view)
        whole = everything(value, at)
        for part in (slice(0, 30), slice(30, None)):
            writer.write({cell: rows[part] for cell, rows in whole.items()})


def test_a_process_that_hammers_reads_sees_old_or_new_of_a_user_and_never_an_error(store, uri):
    publish_everything(store, 0, 0)
    reader = start(
        f"""
whole, seen = sys.argv[1].startswith("sqlite"), []
keys = vectors.entity_keys(USERS)
print("ready", flush=True)
while not seen or seen[-1] < 25:
    of = []
    for vector, profile, history in store.read(keys, CELLS):
        told = {{
            vectors.unpack_one(vector[0], {FEATURES}, {DIGEST!r})[0],
            float(vectors.unpack_json(profile[0])["of"]),
            vectors.unpack_list(history[0])[0],
            *(float(at) for _, at in (vector, profile, history)),
        }}
        assert len(told) == 1, f"a mixture of one user: {{told}}"
        of += told
    assert not whole or len(set(of)) == 1, "a mixture of users"
    seen.append(min(of))
assert seen == sorted(seen), "went back"
print(len(seen), len(set(seen)))
""",
        uri,
    )
    assert reader.stdout.readline() == "ready\n"
    for generation in range(1, 26):
        publish_everything(store, generation, generation)
    output, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    reads, generations = map(int, output.split())
    assert reads >= generations >= 2


def test_a_publication_killed_half_way_leaves_nobody_half(store, uri):
    publish(store, USERS, 1, at=100)
    writer = start(
        """
with store.publication() as writer:
    writer.write({online.VECTOR: rows(2, 200)[:40]})
    print("half", flush=True)
    sys.stdin.readline()
""",
        uri,
    )
    assert writer.stdout.readline() == "half\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    values = read(store, USERS).values
    assert (values == values[:, :1]).all()
    # In the file all is as it was; in Redis some are new, and the next publication completes it.
    assert set(values[:, 0]) == ({1} if isinstance(store, online.SqliteStore) else {1, 2})
    assert publish(store, USERS, 3, at=300) == len(USERS)
    assert (read(store, USERS).values == 3).all()


def test_two_publications_at_once_both_end_and_the_newer_stays(store, uri):
    publish(store, USERS, 0, at=0)
    code = """
print("ready", flush=True)
sys.stdin.readline()
for turn in range(10):
    with store.publication() as writer:
        writer.write({{online.VECTOR: rows({value}, {value})}})
"""
    writers = [start(code.format(value=value), uri) for value in (7, 8)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert (read(store, USERS).values == 8).all()


def test_a_publication_that_never_ends_is_named(store, monkeypatch):
    monkeypatch.setattr(contract, "WAIT_SECONDS", 0.05)
    with store.publication(), pytest.raises(FeatureError, match="another publication"), store.publication():
        pass
