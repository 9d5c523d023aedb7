"""The online store lets go of a person in every view, in a file and in Redis, and takes none back from a refresh."""

import subprocess
import threading

import numpy as np
import pyarrow as pa
import pytest

from configs import load
from features import forgotten, online, vectors
from features.catalog import NAMES, digest
from features.few_users import Rows
from features.forget import forget_online
from features.fresh import Refresher
from features.periods import as_utc

USERS = ["ada-0042", "bo", "ada-00421"]
CELLS = (online.VECTOR, online.PROFILE, online.HISTORY)


@pytest.fixture
def config(online_store, tmp_path, monkeypatch):
    online_store.fresh(monkeypatch)
    return load(home=tmp_path / "home")


def publish(config):
    values = {
        online.VECTOR: vectors.pack(np.ones((3, len(NAMES))), digest()),
        online.PROFILE: [vectors.pack_text("{}")] * 3,
        online.HISTORY: [vectors.pack_list(np.ones(6).tobytes())] * 3,
    }
    with online.open_store(config.online_uri).publication() as writer:
        writer.claim(config.home)
        for cell, packed in values.items():
            writer.create(cell.view)
            writer.write(
                {cell: [(key, one, 100, 1) for key, one in zip(vectors.entity_keys(USERS), packed, strict=True)]}
            )
        writer.record(online.VECTOR.view, digest(), 100, 100, 3)


def known(config):
    rows = online.open_store(config.online_uri).read(vectors.entity_keys(USERS), CELLS)
    return [[cell is not None for cell in row] for row in rows]


def test_all_of_them_goes_and_nothing_of_others(config):
    publish(config)
    assert forget_online(config, ["ada-0042", "nobody"]) == 1
    assert known(config) == [[False] * 3, [True] * 3, [True] * 3]
    assert forget_online(config, ["ada-0042"]) == 0
    if config.online_uri.startswith("sqlite"):
        files = [str(path) for path in config.home.glob("online.db*")]
        content = subprocess.run(["cat", *files], check=True, capture_output=True).stdout
        assert b"ada-00421" in content
        assert b"ada-0042" not in content.replace(b"ada-00421", b"")


def test_nothing_is_left_of_somebody_whom_an_earlier_publication_took_away(config):
    if not config.online_uri.startswith("sqlite"):
        pytest.skip("Redis keeps no file of pages here")
    publish(config)
    history = vectors.pack_list(b"ada-0042" * 2000)  # more than a page
    with online.open_store(config.online_uri).publication() as writer:
        writer.write({online.HISTORY: [(vectors.entity_keys(["ada-0042"])[0], history, 150, 1)]})
    with online.open_store(config.online_uri).publication() as writer:
        packed = vectors.pack(np.ones((2, len(NAMES))), digest())
        keys = vectors.entity_keys(USERS[1:])
        writer.write({online.VECTOR: [(key, one, 200, 1) for key, one in zip(keys, packed, strict=True)]})
        writer.drop_older(dict.fromkeys(CELLS, 200))
    assert forget_online(config, ["ada-0042"]) == 0
    files = [str(path) for path in config.home.glob("online.db*")]
    content = subprocess.run(["cat", *files], check=True, capture_output=True).stdout
    assert b"ada-00421" in content
    assert b"ada-0042" not in content.replace(b"ada-00421", b"")


def test_a_refresh_that_was_under_way_writes_nothing_of_them(config):
    publish(config)
    forgotten.add(config, ["ada-0042"])
    forget_online(config, ["ada-0042"])
    ids = pa.array(USERS)
    numbers = {name: pa.array(np.ones(3)) for name in NAMES}
    rows = Rows(
        as_utc("2024-01-01"),
        pa.table({"user_id": ids, **numbers}),
        pa.table({"user_id": ids, "profile": pa.array(["{}"] * 3)}),
        pa.table({"user_id": ids, "history": pa.array([[1.0] * 6] * 3)}),
    )
    refresher = Refresher.__new__(Refresher)
    refresher.config, refresher.digest = config, digest()
    refresher.published = online.open_store(config.online_uri)
    assert refresher._write(rows) == 6
    assert known(config) == [[False] * 3, [True] * 3, [True] * 3]


def test_nothing_is_made_where_nothing_was_published(tmp_path, monkeypatch):
    monkeypatch.delenv("USEROPS_ONLINE", raising=False)
    config = load(home=tmp_path / "home")
    assert forget_online(config, USERS) == 0
    assert not config.home.exists()


def test_it_waits_for_a_publication_and_takes_away_what_that_wrote(config):
    publish(config)
    done = threading.Event()

    def erase():
        forget_online(config, ["ada-0042"])
        done.set()

    with online.open_store(config.online_uri).publication() as writer:
        waiting = threading.Thread(target=erase)
        waiting.start()
        assert not done.wait(0.3)
        packed = vectors.pack(np.full((1, len(NAMES)), 2.0), digest())
        writer.write({online.VECTOR: [(vectors.entity_keys(["ada-0042"])[0], packed[0], 200, 2)]})
    waiting.join(30)
    assert done.is_set()
    assert known(config)[0] == [False] * 3
