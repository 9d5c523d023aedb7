"""Who is forgotten is in no file of the event store, comes back through no ingest, and is missed by no count."""

import json
import os
import sqlite3
import threading
from datetime import UTC, datetime

import duckdb
import pyarrow.parquet as pq
import pytest

from configs import load
from features import forgotten
from features.by_user import ByUser
from features.engine import connect
from features.events import content_hash, read_entities, read_events
from features.forget import forget_events, forget_snapshots, sweep_scratch
from features.ingest import ingest
from features.ledger import Ledger

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
MAPPING = {
    "read": {"kind": "csv"},
    "columns": {"user_id": "who", "event_type": "what", "event_at": '"when"', "order_id": "bill", "amount": "paid"},
    "dedup": "none",
    "entities": {
        "users": {"read": {"kind": "csv", "files": "users.txt"}, "columns": {"user_id": "who", "city": "city"}}
    },
}
ADA, BO = "ada-0042", "ada-00421"  # one id is the beginning of the other
LINES = [
    f"{ADA},purchase,2024-01-01 08:00:00,b1,10.5",
    f"{ADA},purchase,2024-01-01 08:00:00,b1,10.5",
    f"{BO},visit,2024-01-01 09:00:00,,",
    f"{BO},visit,2024-01-02,,",
    f"{ADA},visit,2024-01-05,,",  # alone on its day
    f"{ADA},purchase,2024-13-01,b2,1",  # refused, and named
    f"nobody,gift,2024-01-01,{ADA},1",  # refused, and named by another column
    f"{BO},purchase,2024-01-03,b3,-1",  # refused
]


def silent(message, share):
    pass


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "users.txt").write_text(f"who,city\n{ADA},York\n{BO},Delft\n", encoding="utf-8")

    def write(lines, name="a.csv"):
        (folder / name).write_text("\n".join(["who,what,when,bill,paid", *lines]) + "\n", encoding="utf-8")
        return folder

    write(LINES)
    return write, folder


def written(tmp_path, dedup):
    path = tmp_path / "till.yaml"
    path.write_text(json.dumps({**MAPPING, "dedup": dedup}), encoding="utf-8")
    return path


@pytest.fixture(params=["none", "exact", "keys"])
def every_mapping(request, tmp_path):
    return written(tmp_path, ["who", "when", "what", "bill"] if request.param == "keys" else request.param)


@pytest.fixture
def mapping(tmp_path):
    return written(tmp_path, "none")


def home(tmp_path, name="home"):
    return load(home=tmp_path / name, now=NOW)


def balanced(report):
    assert report.read == report.accepted + report.quarantined + report.duplicates + report.forgotten
    return report


def named(config, who):
    """Every Parquet file of the home with a text that holds the id."""
    found = []
    for path in config.home.rglob("*.parquet"):
        texts = [text for column in pq.read_table(path).to_pydict().values() for text in map(str, column)]
        if any(who == text or f'"{who}"' in text for text in texts):
            found.append(path.relative_to(config.home).as_posix())
    return found


def test_the_store_is_as_if_they_had_never_been_there(tmp_path, data, every_mapping, monkeypatch):
    mapping = every_mapping
    monkeypatch.setattr("features.by_user.FEW", 0)
    write, folder = data
    config = home(tmp_path)
    before = balanced(ingest(config, mapping, folder))
    ByUser(config).files()  # a sorted copy
    assert named(config, ADA)
    # Cut off elsewhere: a folder of an ingest that died.
    (config.home / "events" / "staging" / "dead").mkdir(parents=True)
    (config.home / "events" / "staging" / "dead" / "x.parquet").write_bytes(ADA.encode())
    found = forget_events(config, [ADA], silent)
    assert (found.events, found.quarantined, found.attributes) == (before.accepted - 2, 2, 1)
    assert found.first_event_us == int(datetime(2024, 1, 1, 8, tzinfo=UTC).timestamp() * 1e6)
    assert named(config, ADA) == []
    assert not list((config.home / "events" / "staging").glob("*"))
    assert BO in set(read_events(connect(config), config).execute()["user_id"])
    assert list(read_entities(connect(config), config, "users").execute()["user_id"]) == [BO]
    (batch,) = Ledger(config).batches()
    assert batch.read == batch.accepted + batch.quarantined + batch.duplicates + batch.forgotten
    assert (batch.accepted, batch.quarantined) == (2, 1)
    write([line for line in LINES if ADA not in line.replace(BO, "")])
    other = home(tmp_path, "other")
    ingest(other, mapping, folder)
    assert content_hash(config) == content_hash(other)
    rows, _ = ByUser(config).select([ADA, BO])
    assert set(duckdb.sql(rows.replace("?, ?", f"'{ADA}', '{BO}'")).df()["user_id"]) == {BO}
    again = forget_events(config, [ADA], silent)
    assert (again.events, again.quarantined, again.attributes, again.files) == (0, 0, 0, 0)


def test_no_ingest_brings_them_back_and_every_line_is_counted(tmp_path, data, mapping):
    write, folder = data
    config = home(tmp_path)
    ingest(config, mapping, folder)
    forget_events(config, [ADA], silent)
    for _ in range(2):  # read again, then known
        report = balanced(ingest(config, mapping, folder))
        assert (report.read, report.accepted, report.quarantined) == (8, 0, 0)
        assert (report.duplicates, report.forgotten) == (3, 5)
    write([*LINES, f"{ADA},visit,2024-02-01,,", f"{BO},visit,2024-02-01,,", f'"{ADA}" is no record'])
    report = balanced(ingest(config, mapping, folder))
    assert (report.read, report.accepted, report.forgotten) == (11, 1, 7)
    report = balanced(ingest(config, mapping, folder, replace=True))
    assert (report.accepted, report.quarantined, report.forgotten) == (3, 1, 7)
    assert named(config, ADA) == []


def test_files_of_nobody_else_go(tmp_path, data, mapping):
    write, folder = data
    write([LINES[0], LINES[5]])
    config = home(tmp_path)
    ingest(config, mapping, folder)
    forget_events(config, [ADA], silent)
    ledger = Ledger(config)
    assert ledger.event_files() == ledger.quarantine_files() == []
    assert list((config.home / "events").rglob("*.parquet")) == [config.home / "events" / "entities" / "users.parquet"]
    (batch,) = ledger.batches()
    assert (batch.accepted, batch.forgotten, batch.first_event_us, batch.content) == (0, 2, None, "0" * 32)
    assert batch.by_rule == {}


@pytest.mark.parametrize("step", ["rewrite", "rename", "sweep"])
def test_interrupted_anywhere_the_same_call_finishes(tmp_path, data, monkeypatch, step):
    _, folder = data
    path = written(tmp_path, "none")
    config = home(tmp_path)
    ingest(config, path, folder)
    calls = []

    def stop(self, *values):
        calls.append(step)
        if step == "sweep" and len(calls) == 1:
            return None  # the one before the work
        if step == "rewrite" and not values[1]:
            return None  # of the list
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "rename":
            patch.setattr("features.forget.os.rename", stop)
        else:
            patch.setattr(Ledger, step, stop)
        with pytest.raises(KeyboardInterrupt):
            forget_events(config, [ADA], silent)
    if step != "sweep":
        assert len(read_events(connect(config), config).execute()) == 5, "all of the store or none of it"
    forget_events(config, [ADA], silent)
    assert named(config, ADA) == []
    assert len(read_events(connect(config), config).execute()) == 2


def test_a_ledger_of_the_version_before_is_moved(tmp_path, data, mapping):
    _, folder = data
    config = home(tmp_path)
    ingest(config, mapping, folder)
    path = config.home / "events" / "ledger.db"
    with sqlite3.connect(path) as connection:
        for table in ("batches", "inputs"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN forgotten")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    (batch,) = Ledger(config).batches()
    assert batch.forgotten == 0
    assert ingest(config, mapping, folder).duplicates == len(LINES)


def test_a_build_that_ran_meanwhile_leaves_them_out(tmp_path):
    config = home(tmp_path)
    folder = config.home / "features" / "user"
    folder.mkdir(parents=True)
    draft, target = folder / ".draft", folder / "2024-01-01T000000Z.parquet"
    table = duckdb.sql(f"SELECT u AS user_id, '茶' AS x FROM (VALUES ('{BO}'), ('{ADA}'), ('z')) t(u)").to_arrow_table()
    pq.write_table(table.replace_schema_metadata({"known": 'it\'s "so"'}), draft)
    began = forgotten.listed(config)
    forgotten.add(config, [ADA])
    forgotten.place(config, draft, target, began)
    written = pq.read_table(target)
    assert written["user_id"].to_pylist() == [BO, "z"]
    assert pq.read_metadata(target).metadata[b"known"] == b'it\'s "so"'
    assert forget_snapshots(config, [BO], silent) == {"user": 1, "user_category": 0, "history": 0, "profile": 0}
    assert pq.read_table(target)["user_id"].to_pylist() == ["z"]


def test_the_list_names_nobody_and_is_for_its_owner_alone(tmp_path):
    config = home(tmp_path)
    first = forgotten.add(config, [ADA])
    path = config.home / forgotten.FILE
    assert path.stat().st_mode & 0o077 == 0
    assert ADA not in path.read_text(encoding="utf-8")
    assert ADA in first
    assert BO not in first
    assert forgotten.add(config, [ADA, BO]).digests[first.digest(ADA)] == first.digests[first.digest(ADA)]
    assert forgotten.add(home(tmp_path, "other"), [ADA]).digest(ADA) != first.digest(ADA)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(Exception, match="no list of who was forgotten"):
        forgotten.listed(config)


def test_scratch_of_yesterday_goes(tmp_path):
    config = home(tmp_path)
    for name, age in (("tmp/tiles-old", 90_000), ("tmp/tiles-new", 10), ("features/user/.draft", 90_000)):
        (config.home / name).mkdir(parents=True)
        at = datetime.now(UTC).timestamp() - age
        os.utime(config.home / name, (at, at))
    (config.home / "features" / "user" / "2024-01-01T000000Z.parquet").touch()
    assert sweep_scratch(config) == 1
    assert [path.name for path in (config.home / "tmp").iterdir()] == ["tiles-new"]
    assert [path.name for path in (config.home / "features" / "user").iterdir()] == ["2024-01-01T000000Z.parquet"]


def test_it_waits_for_an_ingest_whose_list_does_not_name_them_yet(tmp_path, data):
    _, folder = data
    path = written(tmp_path, "none")
    config = home(tmp_path)
    waiting = threading.Thread(target=forget_events, args=(config, [ADA], silent))
    with Ledger(config).lock():
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert ADA not in forgotten.listed(config)
    waiting.join(30)
    assert ADA in forgotten.listed(config)
    assert ingest(config, path, folder).forgotten == 5
