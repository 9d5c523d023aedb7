"""Ids by their beginning, held against looking at every id."""

from __future__ import annotations

import random

import numpy as np
import pytest

from configs import load
from features import online, vectors
from serving.console.lookup import ids_beginning

ODD = ["a" * 128, "用户", "用户1", "用戶", "u/1", "u/../2", "U1", "🙂", "🙂🙂", "u~", "u 1", 'u"1', "u'1", "%00"]


@pytest.fixture(scope="module")
def store(tmp_path_factory, online_store):
    """A store with a few hundred ids, many of them beginning alike, and the ids."""
    draw = random.Random(5)
    ids = {"".join(draw.choice("ab1用🙂") for _ in range(draw.randint(1, 6))) for _ in range(400)} | set(ODD)
    store = online.open_store(load(tmp_path_factory.mktemp("lookup")).online_uri)
    values = vectors.pack(np.zeros((len(ids), 1)), "sha256:" + "0" * 64)
    with store.publication() as writer:
        writer.create(online.VECTOR.view)
        keys = vectors.entity_keys(sorted(ids))
        writer.write({online.VECTOR: [(k, v, 1, 1) for k, v in zip(keys, values, strict=True)]})
    return store, ids


def expected(ids, start, most):
    found = [one.encode() for one in ids if one.startswith(start)]
    return [one.decode() for one in sorted(found, key=lambda one: (len(one), one))][:most]


@pytest.mark.parametrize("start", ["", "a", "ab", "b1", "用", "用户", "🙂", "u", "u/", "zzz", "a" * 127, "a" * 128])
@pytest.mark.parametrize("most", [1, 7, 10_000])
def test_it_finds_what_a_look_at_every_id_finds(store, start, most):
    published, ids = store
    assert ids_beginning(published, start, most) == expected(ids, start, most)


def test_every_whole_id_is_its_own_beginning(store):
    published, ids = store
    for one in ids:
        assert one in ids_beginning(published, one, 10_000)


def test_where_nothing_was_published_nobody_is_found(tmp_path, online_store, monkeypatch):
    online_store.fresh(monkeypatch)
    empty = online.open_store(load(tmp_path).online_uri)
    assert ids_beginning(empty, "a") == []
    assert not list(tmp_path.iterdir())
    with empty.publication():
        pass
    assert ids_beginning(empty, "a") == []
