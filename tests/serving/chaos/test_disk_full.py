"""No room for what a command writes: a sentence, the old state whole, and all of it done once there is room."""

from __future__ import annotations

import errno
import resource
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy

from configs import load
from configs.errors import BundleError, UseropsError
from configs.room import no_room
from features import online
from features.catalog import digest
from features.events import content_hash
from features.home_registry import told
from features.ingest import ingest
from features.ledger import Ledger
from serving.scoring import Bundle, current, write_release

NOW = datetime(2025, 6, 1, tzinfo=UTC)


@contextmanager
def full(room=0):
    """No file of this process grows beyond ``room`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def failing(call, room=0):
    """What a call without room ends with, as the command line says it."""
    error = None
    with full(room):
        try:
            call()
        except Exception as raised:
            error = raised
    said = no_room(error)
    assert said is not None, (repr(error), getattr(error, "sqlite_errorname", None))
    return str(said)


def views(folder, users):
    """An export of one view by each of so many users."""
    absent = dict.fromkeys(("channel", "store_id", "props", "order_id", "quantity", "amount"))
    rows = [
        {**absent, "user_id": f"u{n}", "event_type": "view", "item_id": "i", "category_id": "c",
         "event_at": NOW - timedelta(days=1, seconds=n), "ingested_at": NOW - timedelta(days=1)}
        for n in range(users)
    ]  # fmt: skip
    path = folder / f"events-{users}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("room", [0, 3000])
def test_an_ingest_leaves_the_store_as_it_was_and_takes_everything_later(tmp_path, room):
    config = load(tmp_path / "home", now=NOW)
    ingest(config, "shop", views(tmp_path, 3))
    before, export = content_hash(config), views(tmp_path, 900)
    assert "nothing more can be written" in failing(lambda: ingest(config, "shop", export), room)
    assert content_hash(config) == before
    report = ingest(config, "shop", export)
    assert (report.accepted, report.duplicates) == (897, 3)
    ledger = Ledger(config)
    assert sorted(ledger.data.glob("*/*")) == sorted(one.path for one in ledger.event_files())


@pytest.mark.parametrize("room", [0, 2_000])
def test_a_release_leaves_the_old_one_in_force(tmp_path, catalogue_models, room):
    releases = tmp_path / "releases"
    old = write_release(releases, catalogue_models, digest(), NOW)
    later = NOW + timedelta(hours=1)
    assert "nothing more can be written" in failing(
        lambda: write_release(releases, catalogue_models, digest(), later), room
    )
    assert Bundle.load(current(releases), digest()).release_id == old
    assert sorted(path.name for path in releases.iterdir()) == sorted([old, "current"])
    new = write_release(releases, catalogue_models, digest(), later)
    assert Bundle.load(current(releases), digest()).release_id == new


def test_a_publication_leaves_everybody_as_before(tmp_path, published, publish_into):
    store = online.SqliteStore(tmp_path / "online.db")
    publish_into(store, published)
    keys = [key for part in store.scan((online.VECTOR,), 500) for key, _ in part]
    before = store.read(keys, (online.VECTOR, online.PROFILE))
    store.close()
    assert "nothing more can be written" in failing(lambda: publish_into(store, published))
    assert store.read(keys, (online.VECTOR, online.PROFILE)) == before
    publish_into(store, published)
    assert store.read(keys, (online.VECTOR, online.PROFILE)) == before
    store.close()


def test_a_registry_without_room_is_not_said_to_be_locked(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    create = sqlalchemy.text("CREATE TABLE views (name TEXT)")
    because = pytest.raises(UseropsError, match="nothing more can be written")
    with because, told("sqlite:///registry.db"), full(), engine.begin() as connection:
        connection.execute(create)
    engine.dispose()


def test_only_a_lack_of_room_is_one():
    full_file = sqlite3.OperationalError("database or disk is full")
    wrapped = RuntimeError("cannot")
    wrapped.__cause__ = full_file
    for error in (OSError(errno.ENOSPC, "No space left on device"), full_file, wrapped):
        assert no_room(error) is not None
    for other in (OSError(errno.ENOENT, "no such file"), BundleError("altered"), KeyError("full")):
        assert no_room(other) is None
