"""The schema: made by one of many, moved forward and back without losing a row, and no library loaded for nothing."""

import sqlite3
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

import serving.log.migrations
from configs.errors import LogError
from serving.log import DecisionLog, Feedback
from serving.log.migrate import HEAD, migrate, version
from serving.log.sqlite import path_of

NOW = 1_780_000_000_000_000
OPEN = """
import sys
from serving.log import DecisionLog, DecisionRow
sys.stdin.readline()
log = DecisionLog.open(sys.argv[1])
log.record(DecisionRow(sys.argv[2], sys.argv[2], "u", 5, "decided", None, "b", "r", "p", "", b"", b"", b"{}", b"{}"))
print("recorded")
"""


def test_many_processes_may_open_a_new_log_at_once(fresh, start):
    workers = [start(OPEN, fresh, f"d{number}") for number in range(3)]
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.communicate(timeout=60)[0] == "recorded\n"
    log = DecisionLog.open(fresh)
    assert [kept.decision_id for kept in log.decisions(0, 10)] == [f"d{number}" for number in range(3)]
    log.close()


def test_back_and_forward_again_keeps_every_row(fresh, row):
    log = DecisionLog.open(fresh)
    database = log._database
    assert version(database) == HEAD
    log.record(row())
    log.feedback([Feedback("e", "d_000001", "a", "click", NOW)], at_us=NOW)
    migrate(database, "0001")
    assert version(database) == "0001"
    DecisionLog.open(fresh).close()
    assert version(database) == HEAD
    assert log.decision("d_000001") == row()
    assert log.response_counts() == {"wecom": (2, 1)}
    assert log.forget(["u"], NOW)["decisions"] == 1
    assert set(migrate(database, "base", drop=True)) == {"channel_counts", "offer_counts", "forgotten"}
    assert version(database) is None
    DecisionLog.open(fresh).close()
    assert log.decision("d_000001") is None
    log.close()


def test_head_is_the_last_step_of_alembic():
    config = Config()
    config.set_main_option("script_location", str(Path(serving.log.migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_log_of_a_newer_version_is_left_alone(fresh):
    log = DecisionLog.open(fresh)
    with log._database.write() as inside:
        inside.run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LogError, match="newer userops"):
        DecisionLog.open(fresh)
    assert version(log._database) == "9999"
    log.close()


def test_opening_a_log_that_is_there_loads_no_migrations(uri, start):
    code = """
import sys
from serving.log import DecisionLog
log = DecisionLog.open(sys.argv[1])
log.state("u", 5, after_us=0)
print(sorted({name.split(".")[0] for name in sys.modules} & {"alembic", "sqlalchemy", "pyarrow", "pandas", "numpy"}))
"""
    assert start(code, uri).communicate(timeout=60)[0] == "[]\n"


def test_power_failures_cost_nothing_when_asked(tmp_path):
    log = DecisionLog.open(f"sqlite:///{tmp_path / 'd.db'}?synchronous=full")
    assert log._database.read("PRAGMA synchronous") == [(2,)]
    assert log._database.read("PRAGMA journal_mode") == [("wal",)]
    log.close()


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///", "sqlite:///x?mode=ro", "sqlite:///x?synchronous=off", "mysql://x", ""]
)
def test_an_impossible_address_is_refused(uri):
    with pytest.raises(LogError):
        DecisionLog.open(uri)


def test_a_file_that_is_no_log_is_named(tmp_path):
    path = tmp_path / "d.db"
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(LogError, match=r"d\.db"):
        DecisionLog.open(f"sqlite:///{path}")


def test_a_server_that_is_not_there_is_told_without_the_password():
    with pytest.raises(LogError, match="cannot be reached") as told:
        DecisionLog.open("postgresql+psycopg://userops:hush@127.0.0.1:1/log")
    assert "hush" not in str(told.value)


def test_the_address_names_the_file():
    assert path_of("sqlite:///relative.db") == (Path("relative.db"), "NORMAL")
    assert sqlite3.sqlite_version_info >= (3, 35), "upserts and RETURNING"
