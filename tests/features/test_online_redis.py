"""A Redis that is down, comes back, hangs, is full, holds what others wrote, or gives the lock to somebody else."""

import socket
import threading
import time

import numpy as np
import pytest
import redis
from feast.infra.online_stores.helpers import _mmh3

from configs import load
from configs.errors import CatalogueMismatch, ConfigError, FeatureError
from features import online, vectors
from features.online import redis_scripts, redis_store
from features.redis_server import redis_server

SECRET = "s3cret,of=us"
DIGEST = "sha256:" + "a" * 64
USER = vectors.entity_keys(["a"])[0]


@pytest.fixture(scope="module")
def server(redis_program):
    with redis_server(SECRET) as server:
        yield server


@pytest.fixture
def store(server, monkeypatch):
    monkeypatch.setattr(redis_store, "ANSWER_SECONDS", 20.0)  # on a busy machine a Redis that has just started is slow
    if server.process is None:
        server.start()
    redis.Redis.from_url(server.uri()).flushall()
    store = redis_store.RedisStore(server.uri())
    yield store
    store.close()


def publish(store, value=1.0, at=100):
    with store.publication() as writer:
        writer.create(online.VECTOR.view)
        packed = vectors.pack(np.full((1, 2), value), DIGEST)[0]
        return writer.write({online.VECTOR: [(USER, packed, at, None)]})[online.VECTOR]


def read(store):
    return online.read_vectors(store, ["a"], 2, DIGEST).values[0, 0]


def client(server):
    return redis.Redis.from_url(server.uri())


def test_it_comes_back_without_a_restart_of_ours_and_fails_at_once_meanwhile(server, store, monkeypatch):
    publish(store)
    assert read(store) == 1
    server.stop()
    asked = []
    monkeypatch.setattr(redis_store, "_rows", lambda *given: asked.append(given) or (_ for _ in ()).throw(refused()))
    for _ in range(50):
        with pytest.raises(FeatureError, match="cannot be read") as refusal:
            read(store)
        assert SECRET not in str(refusal.value)
    assert len(asked) == 1, "every request waited for a Redis that is down"
    with pytest.raises(FeatureError, match="cannot be written") as refusal:
        publish(store)
    assert SECRET not in str(refusal.value)
    monkeypatch.undo()
    server.start()
    monkeypatch.setattr(redis_store.time, "monotonic", lambda: time.perf_counter() + 1e9)  # the pause is over
    with pytest.raises(FeatureError, match="nothing is published"):  # it came back empty: nobody is a stranger for that
        read(store)
    publish(store, 2.0)
    assert read(store) == 2


def refused():
    return redis.ConnectionError("Error 111 connecting")


def test_connections_that_died_with_a_restart_are_made_anew_in_the_same_question(server, store):
    publish(store)
    read(store)
    server.stop()
    server.start()
    with pytest.raises(FeatureError, match="nothing is published"):
        read(store)


def test_one_that_accepts_and_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(redis_store, "ANSWER_SECONDS", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        store = redis_store.RedisStore(f"redis://:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/0")
        with pytest.raises(FeatureError, match="cannot be read") as refusal:
            read(store)
        assert SECRET not in str(refusal.value)
        store.close()


def test_a_wrong_password_is_said_without_it(server):
    store = redis_store.RedisStore(server.uri().replace(SECRET, "wrong-one"))
    for ask in (lambda: read(store), lambda: read(store), lambda: publish(store)):
        with pytest.raises(FeatureError, match="another user or password than the server") as refusal:
            ask()
        assert "wrong-one" not in str(refusal.value)
    store.close()


def test_a_database_that_the_server_has_not_is_said(server):
    store = redis_store.RedisStore(server.uri().rpartition("/")[0] + "/99999")
    for ask in (lambda: read(store), lambda: publish(store)):
        with pytest.raises(FeatureError, match="a database that the server has not"):
            ask()
    store.close()


def test_a_full_redis_refuses_and_keeps_what_is_there(server, store):
    publish(store)
    client(server).config_set("maxmemory", "1")
    try:
        with pytest.raises(FeatureError, match="full"):
            publish(store, 2.0, at=200)
        assert read(store) == 1
    finally:
        client(server).config_set("maxmemory", "0")
    assert publish(store, 2.0, at=200) == 1


def test_no_key_expires(server, store):
    publish(store)
    assert client(server).ttl(USER + redis_scripts.SUFFIX) == -1


FIELD, STAMP, _ = redis_scripts.field_of(online.VECTOR)
GOOD = vectors.pack(np.ones((1, 2)), DIGEST)[0]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda redis, key: redis.hdel(key, STAMP), FeatureError),
        (lambda redis, key: redis.hset(key, STAMP, b"\x12\x01"), FeatureError),
        (lambda redis, key: redis.hset(key, STAMP, b"\x08" + b"\xff" * 9), FeatureError),
        (lambda redis, key: redis.hset(key, FIELD, GOOD[:-1]), CatalogueMismatch),
        (lambda redis, key: redis.hset(key, FIELD, GOOD + b"\0"), CatalogueMismatch),
        (lambda redis, key: redis.hset(key, FIELD, b"\0" + GOOD[1:]), CatalogueMismatch),
        (lambda redis, key: redis.hset(key, FIELD, ""), CatalogueMismatch),
        (lambda redis, key: redis.set(key, "not a hash"), FeatureError),
    ],
)
def test_what_no_publication_wrote_is_refused_and_never_shuffled(server, store, change, refusal):
    publish(store)
    change(client(server), USER + redis_scripts.SUFFIX)
    with pytest.raises(refusal):
        read(store)


def test_a_foreign_assortment_is_refused(server, store):
    client(server).hset(redis_scripts.ASSORTMENT, mapping={"stamp": "x", "as_of": "1", "items": "[", "stores": "[]"})
    with pytest.raises(FeatureError, match="no assortment of ours"):
        store.assortment()


def test_who_lost_the_lock_to_another_one_writes_nothing_any_more(server, store):
    publish(store)

    def late():
        with store.publication() as writer:
            client(server).hset(redis_scripts.LOCK, "token", "another one's")
            writer.write({online.VECTOR: [(USER, vectors.pack(np.full((1, 2), 9.0), DIGEST)[0], 900, None)]})

    with pytest.raises(FeatureError, match="being written by another publication"):
        late()
    assert read(store) == 1
    assert client(server).hget(redis_scripts.LOCK, "token") == b"another one's"


def test_a_database_belongs_to_one_home_wherever_it_is_moved(store, tmp_path):
    for _ in range(2):
        with store.publication() as writer:
            writer.claim(tmp_path / "ours")
    (tmp_path / "ours").rename(tmp_path / "moved")
    with store.publication() as writer:
        writer.claim(tmp_path / "moved")
    with pytest.raises(FeatureError, match="another home"), store.publication() as writer:
        writer.claim(tmp_path / "theirs")


def test_a_lock_that_ran_out_and_nobody_took_is_still_held(server, store):
    with store.publication() as writer:
        client(server).hset(redis_scripts.LOCK, "until", 0)
        writer.create(online.VECTOR.view)
        writer.write({online.VECTOR: [(USER, GOOD, 5, None)]})
    assert client(server).hget(redis_scripts.LOCK, "until") == b"0"
    assert read(store) == 1


def test_who_outlived_the_lock_puts_nobody_back_whom_another_one_forgot_meanwhile(server, store):
    publish(store)

    def late():
        with store.publication() as writer:
            client(server).hset(redis_scripts.LOCK, "until", 0)  # it sorted for longer than that
            with store.publication() as other:
                assert other.forget([USER]) == 1
            writer.write({online.VECTOR: [(USER, GOOD, 900, None)]})

    with pytest.raises(FeatureError, match="being written by another publication"):
        late()
    assert not online.read_vectors(store, ["a"], 2, DIGEST).found[0]


def test_a_redis_that_came_back_empty_ends_the_publication_instead_of_keeping_half_of_it(server, store):
    def half():
        with store.publication() as writer:
            writer.create(online.VECTOR.view)
            writer.write({online.VECTOR: [(USER, GOOD, 5, None)]})
            server.stop()
            server.start()
            writer.write({online.VECTOR: [(vectors.entity_keys(["b"])[0], GOOD, 5, None)]})

    with pytest.raises(FeatureError, match="LOST the lock"):
        half()
    with pytest.raises(FeatureError, match="nothing is published"):
        read(store)


def test_everybody_is_there_once_while_redis_grows(server, store):
    users = [f"u{number}" for number in range(3000)]
    rows = [(key, GOOD, 5, None) for key in vectors.entity_keys(users)]
    with store.publication() as writer:
        writer.create(online.VECTOR.view)
        writer.write({online.VECTOR: rows[:1000]})
        seen = []
        for part in store.scan((online.VECTOR,), 50):
            seen += [key for key, _ in part]
            writer.write({online.VECTOR: rows[1000:]})
    assert len(seen) == len(set(seen))
    assert {row[0] for row in rows[:1000]} <= set(seen)


def test_fields_are_those_of_feast():
    for cell in (online.VECTOR, online.PROFILE, online.HISTORY):
        assert redis_scripts.field_of(cell)[0] == _mmh3(f"{cell.view}:{cell.feature}")


def test_threads_share_the_pool(server, store):
    publish(store)
    answers = []
    threads = [threading.Thread(target=lambda: answers.extend(read(store) for _ in range(50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1.0] * 400


@pytest.mark.parametrize(
    "uri", ["redis://:s3cret@:1", "http://:s3cret@h/0", "redis://:s3cret@h:x/0", "redis://:s3cret@h/a"]
)
def test_an_impossible_address_is_refused_without_the_password(uri, monkeypatch, tmp_path):
    monkeypatch.setenv("USEROPS_ONLINE", uri)
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path)
    assert "s3cret" not in str(refusal.value)
