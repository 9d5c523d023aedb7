"""The online store file: whole publications only, nothing older over anything newer, whatever happens to the writer."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from configs.errors import CatalogueMismatch, FeatureError
from features import online, vectors

FEATURES = 3
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
TABLE = online.table_of(online.VECTOR_VIEW)
USERS = [f"user {number}" for number in range(60)]


def rows_of(users, value, at, made=None, digest=DIGEST):
    packed = vectors.pack(np.full((len(users), FEATURES), float(value)), digest)
    return [(key, online.VECTOR, one, at, made) for key, one in zip(vectors.entity_keys(users), packed, strict=True)]


def publish(path, users, value, at, made=None, digest=DIGEST):
    with online.publication(path) as connection:
        online.create(connection, TABLE)
        written = online.upsert(connection, TABLE, rows_of(users, value, at, made, digest))
        online.record(connection, online.VECTOR_VIEW, digest, at, at, written)
    return written


def read(path, users, digest=DIGEST):
    return online.read_vectors(online.OnlineReader(path), users, FEATURES, digest)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "online.db"


def test_vectors_come_back_in_the_order_asked(path):
    publish(path, ["a"], 1, at=100)
    publish(path, ["b"], 2, at=86_400)
    served = read(path, ["b", "nobody", "a", "b"])
    assert served.found.tolist() == [True, False, True, True]
    assert np.array_equal(served.values[:, 0], [2, np.nan, 1, 2], equal_nan=True)
    assert served.as_of.dtype == "datetime64[us]"
    assert np.isnat(served.as_of[1])
    assert served.as_of[[0, 2]].tolist() == np.array(["1970-01-02", "1970-01-01T00:01:40"], "datetime64[us]").tolist()


def test_nobody_asked_nothing_read(path):
    publish(path, ["a"], 1, at=100)
    served = read(path, [])
    assert served.values.shape == (0, FEATURES)
    assert served.found.shape == served.as_of.shape == (0,)


@pytest.mark.parametrize(
    ("at", "made", "wins"),
    [(101, None, True), (99, 999, False), (100, 51, True), (100, 50, True), (100, 49, False), (100, None, False)],
)
def test_a_row_gives_way_only_to_one_that_is_not_older(path, at, made, wins):
    publish(path, ["a"], 1, at=100, made=50)
    assert publish(path, ["a", "new"], 2, at=at, made=made) == 1 + wins
    assert read(path, ["a"]).values[0, 0] == (2 if wins else 1)


def test_users_who_are_not_in_the_snapshot_remain(path):
    publish(path, ["a", "b"], 1, at=100)
    publish(path, ["b"], 2, at=200)
    assert read(path, ["a", "b"]).values[:, 0].tolist() == [1, 2]


def test_an_error_leaves_what_was_there(path):
    publish(path, ["a"], 1, at=100)

    def fail_half_way():
        with online.publication(path) as connection:
            online.upsert(connection, TABLE, rows_of(["a", "b"], 2, at=200))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert read(path, ["a", "b"]).values[0, 0] == 1
    assert read(path, ["a", "b"]).found.tolist() == [True, False]


def test_another_catalogue_is_refused_found_or_not(path):
    publish(path, ["a"], 1, at=100, digest=OTHER)
    for users in (["a"], ["nobody"]):
        with pytest.raises(CatalogueMismatch, match="another feature catalogue") as refusal:
            read(path, users)
        assert "userops features publish" in str(refusal.value)


def test_vectors_of_another_length_are_refused(path):
    publish(path, ["a"], 1, at=100)
    with pytest.raises(CatalogueMismatch):
        online.read_vectors(online.OnlineReader(path), ["a"], FEATURES + 1, DIGEST)


def test_reading_before_anything_is_published_says_what_to_run(path):
    with pytest.raises(FeatureError, match="userops features publish"):
        read(path, ["a"])
    with online.publication(path):
        pass
    with pytest.raises(FeatureError, match="nothing is published"):
        read(path, ["a"])
    assert online.last_publication(online.OnlineReader(path).connection, online.VECTOR_VIEW) is None


def test_a_reader_cannot_write(path):
    publish(path, ["a"], 1, at=100)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        online.OnlineReader(path).connection.execute(f"DELETE FROM {TABLE}")


def test_more_keys_than_one_statement_takes_are_read_from_one_state(path, monkeypatch):
    monkeypatch.setattr(online, "MOST_PARAMETERS", 7)
    publish(path, USERS, 1, at=100)
    reader = online.OnlineReader(path)
    select, turns = reader._select, []

    def then_publish(*arguments):
        turns.append(publish(path, USERS, 2, at=200 + len(turns)))
        return select(*arguments)

    monkeypatch.setattr(reader, "_select", then_publish)
    served = online.read_vectors(reader, USERS, FEATURES, DIGEST)
    assert len(turns) == 9
    assert len(set(served.values[:, 0])) == 1, "a mixture of two publications"
    assert read(path, USERS).values[0, 0] == 2


def test_one_reader_serves_many_threads(path):
    publish(path, USERS, 1, at=100)
    reader, answers = online.OnlineReader(path), []

    def ask():
        answers.extend(online.read_vectors(reader, USERS, FEATURES, DIGEST).values.sum() for _ in range(20))
        reader.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [len(USERS) * FEATURES] * 80


# ── second processes ────────────────────────────────────────────────────────────────────────────────────────────────

HELPERS = f"""
import sys, numpy as np
from pathlib import Path
from features import online, vectors
path, TABLE = Path(sys.argv[1]), {TABLE!r}
USERS = {USERS!r}
def rows(value, at):
    packed = vectors.pack(np.full((len(USERS), {FEATURES}), float(value)), {DIGEST!r})
    return [(k, "vector", v, at, None) for k, v in zip(vectors.entity_keys(USERS), packed)]
"""


def start(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HELPERS + code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_a_process_that_hammers_reads_sees_old_or_new_and_never_an_error(path):
    publish(path, USERS, 0, at=0)
    reader = start(
        f"""
reader, seen = online.OnlineReader(path), []
print("ready", flush=True)
while not seen or seen[-1] < 25:
    values = online.read_vectors(reader, USERS, {FEATURES}, {DIGEST!r}).values
    assert (values == values[0, 0]).all(), "a mixture"
    seen.append(values[0, 0])
assert seen == sorted(seen), "went back"
print(len(seen), len(set(seen)))
""",
        path,
    )
    assert reader.stdout.readline() == "ready\n"
    for generation in range(1, 26):
        with online.publication(path) as connection:
            rows = rows_of(USERS, generation, at=generation)
            online.upsert(connection, TABLE, rows[:30])
            online.upsert(connection, TABLE, rows[30:])
    output, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    reads, generations = map(int, output.split())
    assert reads >= generations >= 2


def test_a_publication_killed_half_way_leaves_the_old_state_whole(path):
    publish(path, USERS, 1, at=100)
    writer = start(
        """
with online.publication(path) as connection:
    connection.execute("PRAGMA cache_size = 1")  # pages leave memory for the file at once
    online.upsert(connection, TABLE, rows(2, 200)[:40])
    print("half", flush=True)
    sys.stdin.readline()
""",
        path,
    )
    assert writer.stdout.readline() == "half\n"
    assert (read(path, USERS).values == 1).all()
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    assert (read(path, USERS).values == 1).all()
    assert publish(path, USERS, 3, at=300) == len(USERS)
    assert (read(path, USERS).values == 3).all()


def test_two_publications_at_once_both_end_and_the_newer_stays(path):
    publish(path, USERS, 0, at=0)
    code = """
print("ready", flush=True)
sys.stdin.readline()
for turn in range(10):
    with online.publication(path) as connection:
        online.upsert(connection, TABLE, rows({value}, {value}))
"""
    writers = [start(code.format(value=value), path) for value in (7, 8)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert (read(path, USERS).values == 8).all()


def test_a_publication_that_never_ends_is_named(path, monkeypatch):
    monkeypatch.setattr(online, "WAIT_SECONDS", 0.05)
    with online.publication(path), pytest.raises(FeatureError, match="another publication"), online.publication(path):
        pass
