"""P010 compares the snapshot with the live path and with what is published, to the last bit."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from features import online, vectors
from features.catalog import NAMES, digest
from features.store import Store
from training.checks import p010_offline_is_online
from training.checks.p010_offline_is_online import CHECK
from training.checks.run import look_at


@pytest.fixture(scope="module")
def home(shop, tmp_path_factory):
    """A home of its own, with everybody published."""
    home = tmp_path_factory.mktemp("published")
    shutil.copytree(shop.home / "events", home / "events")
    newest = max((shop.home / "features" / "user").glob("*.parquet"))
    (home / "features" / "user").mkdir(parents=True)
    shutil.copy(newest, home / "features" / "user")
    config = replace(shop, home=home)
    Store(config).apply()
    Store(config).publish()
    return config


@pytest.fixture(scope="module")
def live():
    """What the live path answered, once it was asked: it takes seconds to start."""
    return {}


@pytest.fixture
def published(subject, home, live, monkeypatch):
    """The subject in that home; the live path is asked once and then remembered."""
    real = p010_offline_is_online.Refresher

    class Remembered:
        def __init__(self, config):
            self.config = config

        def rows(self, users, as_of):
            if "rows" not in live:
                live["rows"] = real(self.config).rows(users, as_of)
            return live["rows"]

    monkeypatch.setattr(p010_offline_is_online, "Refresher", Remembered)
    subject.config = home
    return subject


def test_a_home_where_all_agree_is_silent(published):
    outcome = look_at(published, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert outcome.evidence["published"]
    assert outcome.evidence["users"] == 200


def test_a_live_path_that_differs_blocks(published, live):
    look_at(published, CHECK) if not live else None
    table = live["rows"].user
    column = table["spend_30d"].to_numpy().astype(float)
    place = int(np.flatnonzero(~np.isnan(column))[0])
    column[place] = np.nextafter(column[place], np.inf)  # the last bit
    spoiled = table.set_column(table.column_names.index("spend_30d"), "spend_30d", pa.array(column))
    before, live["rows"] = live["rows"], replace(live["rows"], user=spoiled)
    outcome = look_at(published, CHECK)
    live["rows"] = before
    assert outcome.blocks
    user = table["user_id"][place].as_py()
    assert outcome.evidence["differing"] == [("live path", user, "spend_30d")]
    assert f"userops features inspect {user}" in outcome.next_step["en"]


def test_a_published_vector_that_differs_blocks(published):
    user = look_at(published, CHECK) and sorted(_sampled(published))[0]
    vector = published.store.online([user]).values.copy()
    vector[0, NAMES.index("orders_life")] += 1
    reader = published.store.online([user])
    at = int(reader.as_of[0].astype("datetime64[s]").astype(int))
    with online.open_store(published.config.online_uri).publication() as writer:
        key, value = vectors.entity_keys([user])[0], vectors.pack(vector, digest())[0]
        writer.write({online.VECTOR: [(key, value, at, at + 10**9)]})
    outcome = look_at(published, CHECK)
    assert outcome.blocks
    assert {name for _, _, name in outcome.evidence["differing"]} == {"orders_life"}


def _sampled(subject):
    """The people that `Store.parity` compares."""
    import pyarrow.parquet as pq

    path = max((subject.config.home / "features" / "user").glob("*.parquet"))
    everybody = np.array(pq.read_table(path, columns=["user_id"])["user_id"].to_pylist(), dtype=object)
    return np.random.default_rng(subject.config.seed).choice(everybody, size=200, replace=False).tolist()
