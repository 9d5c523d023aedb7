"""A batch is there whole or not at all, whatever happens to the one who writes it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime

import pytest

from configs import load
from configs.errors import EventsError
from features import ledger
from features.engine import connect
from features.events import content_hash, read_events
from features.ingest import ingest
from features.ledger import Ledger

NOW = datetime(2024, 3, 1, tzinfo=UTC)
MAPPING = {
    "read": {"kind": "csv"},
    "columns": {"user_id": "u", "event_type": "'visit'", "event_at": "t"},
    "dedup": "none",
}


@pytest.fixture
def config(tmp_path):
    return load(home=tmp_path / "home", now=NOW)


@pytest.fixture
def mapping(tmp_path):
    path = tmp_path / "door.yaml"
    path.write_text(json.dumps(MAPPING), encoding="utf-8")
    return path


def export(folder, name, days, bad=1):
    """A visit of two users on each day, and lines that are refused."""
    lines = [f"u{user},2024-01-{day:02}\n" for day in days for user in (1, 2)] + ["u1,never\n"] * bad
    path = folder / name
    path.write_text("u,t\n" + "".join(lines), encoding="utf-8")
    return path


def stored(config):
    folder = Ledger(config)
    return sorted([*folder.data.glob("*/*"), *folder.quarantine.glob("*")])


def run(config, mapping, data, prelude=""):
    """An ingest in another process, after some lines that change how it ends."""
    code = f"""
    import os, signal, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from configs import load
    from features import ingest as module, ledger, staging
    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)
    {prelude}
    config = load(home=Path({str(config.home)!r}), now=datetime.fromisoformat({NOW.isoformat()!r}))
    module.ingest(config, Path({str(mapping)!r}), Path({str(data)!r}))
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)


# Where the writer dies: the code that makes it die there.
DEATHS = {
    "while reading": "staging.Staging.add = die",
    "with lines staged": "staging.Staging.tell_apart = die",
    "while writing events": "staging.Staging.write_quarantine = die",
    "before the first rename": "ledger.Ledger.commit = die",
    "between renames": """
    calls, rename = [], os.rename
    def some(*paths):
        calls.append(paths)
        die() if len(calls) == 4 else rename(*paths)
    os.rename = some
    """,
    "after the last rename": "import json; json.dumps = die",
    "inside the transaction": """
    import sqlite3
    class Dying(sqlite3.Connection):
        def executemany(self, query, rows):
            die() if "files" in query else super().executemany(query, rows)
    connect = sqlite3.connect
    sqlite3.connect = lambda *a, **k: connect(*a, factory=Dying, **k)
    """,
}


@pytest.mark.parametrize("moment", DEATHS)
def test_a_writer_that_is_killed_leaves_no_half_batch(config, mapping, tmp_path, moment):
    ingest(config, mapping, export(tmp_path, "first.csv", range(1, 4)))
    before = (content_hash(config), [one.path for one in Ledger(config).event_files()])
    second = export(tmp_path, "second.csv", range(2, 8), bad=3)
    prelude = textwrap.indent(textwrap.dedent(DEATHS[moment]), "    ").lstrip()
    with run(config, mapping, second, prelude) as process:
        assert process.wait(60) == -signal.SIGKILL, "it was to die there"
    assert (content_hash(config), [one.path for one in Ledger(config).event_files()]) == before
    assert read_events(connect(config), config).count().execute() == 6
    report = ingest(config, mapping, second)
    assert (report.read, report.accepted, report.quarantined, report.duplicates) == (15, 8, 2, 5)
    ledgered = [*Ledger(config).event_files(), *Ledger(config).quarantine_files()]
    assert stored(config) == sorted(one.path for one in ledgered), "what the dead one left is swept"
    assert not any(Ledger(config).staging.iterdir())


def test_a_reader_sees_a_batch_whole_or_not_at_all(config, mapping, tmp_path):
    ingest(config, mapping, export(tmp_path, "first.csv", [1]))
    counts, done = set(), threading.Event()

    def read():
        connection = connect(config)
        while not done.is_set():
            counts.add(read_events(connection, config).count().execute())

    reader = threading.Thread(target=read)
    reader.start()
    for last in (10, 20, 30):
        ingest(config, mapping, export(tmp_path, "grown.csv", range(1, last)))
    done.set()
    reader.join()
    assert counts <= {2, 18, 38, 58}


def test_two_ingests_at_once_wait_for_each_other(config, mapping, tmp_path):
    export(tmp_path, "a.csv", range(1, 20))
    processes = [run(config, mapping, tmp_path / "a.csv") for _ in range(3)]
    for process in processes:
        with process:
            assert process.wait(120) == 0
    assert read_events(connect(config), config).count().execute() == 38
    assert sum(batch.accepted for batch in Ledger(config).batches()) == 38


def test_waiting_too_long_names_the_one_who_holds_the_lock(config, monkeypatch):
    monkeypatch.setattr(ledger, "WAIT_SECONDS", 0.0)
    told = []
    with (
        Ledger(config).lock(),
        pytest.raises(EventsError, match="another ingest holds") as caught,
        Ledger(config).lock(lambda what, share: told.append(what)),
    ):
        pass
    assert caught.value.got == f"process {os.getpid()}"


def test_waiting_is_told(config):
    told = threading.Event()
    entered = []

    def other():
        with Ledger(config).lock(lambda what, share: told.set()):
            entered.append(time.monotonic())

    with Ledger(config).lock():
        thread = threading.Thread(target=other)
        thread.start()
        assert told.wait(10)
        assert entered == []
    thread.join()
    assert len(entered) == 1


def test_a_ledger_of_another_version_is_not_touched(config, mapping, tmp_path):
    ingest(config, mapping, export(tmp_path, "first.csv", [1]))
    import sqlite3

    with sqlite3.connect(Ledger(config).path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(EventsError, match="another version"):
        read_events(connect(config), config)


def test_the_home_may_move(config, mapping, tmp_path):
    ingest(config, mapping, export(tmp_path, "first.csv", [1]))
    config.home.rename(tmp_path / "elsewhere")
    moved = load(home=tmp_path / "elsewhere", now=NOW)
    assert read_events(connect(moved), moved).count().execute() == 2
