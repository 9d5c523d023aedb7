"""What keeps a log small and alive: checkpoints, threads, servers that go away and come back."""

import socket
import threading
import time

import psycopg
import pytest

from configs.errors import LogError
from serving.log import DAY_US, DecisionLog, Feedback

NOW = 1_780_000_000_000_000


def test_upkeep_empties_the_write_ahead_log(template, row, tmp_path):
    log = DecisionLog.open(f"sqlite:///{tmp_path / 'd.db'}")
    wal = tmp_path / "d.db-wal"
    for number in range(200):
        log.record(row(number, vector=b"12345678" * 500, vector_hash=str(number)))
        if number % 20 == 19:
            log.maintain(NOW)
    grown = wal.stat().st_size
    for number in range(200, 220):
        log.record(row(number, vector=b"12345678" * 500, vector_hash=str(number)))
    assert wal.stat().st_size == grown, "the same pages of it are used again"
    log.close()


def test_upkeep_forgets_keys_after_a_day(log, row):
    log.record(row())
    log.feedback([Feedback("e", "d_000001", "a", "click", NOW)], "key", at_us=NOW)
    log.maintain(NOW + DAY_US)
    assert log._database.read("SELECT key FROM feedback_keys") == [("key",)]
    log.maintain(NOW + 2 * DAY_US)
    assert log._database.read("SELECT key FROM feedback_keys") == []


def test_threads_share_a_log(log, row):
    errors: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for number in range(me, 80, 4):
                assert log.record(row(number)) is None
                assert log.decision(f"d_{number:06d}") is not None
            log.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(list(log.decisions(0, 2 * NOW))) == 80


def test_a_connection_that_was_cut_is_made_again(emptied, row):
    uri = emptied()
    log = DecisionLog.open(uri)

    def cut():
        with psycopg.connect(uri.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'userops' AND pid <> pg_backend_pid()"
            )

    log.record(row())
    cut()
    assert log.record(row(2)) is None
    cut()
    assert log.decision("d_000002") == row(2)
    log.close()


def test_a_server_that_takes_no_connection_is_asked_once_and_then_left_alone_for_a_moment(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"postgresql://userops:hush@127.0.0.1:{silent.getsockname()[1]}/log"
        tried = []
        connect = psycopg.Connection.connect.__func__

        def counted(kind, *words, **named):
            tried.append(words)
            return connect(kind, *words, **named)

        monkeypatch.setattr(psycopg.Connection, "connect", classmethod(counted))
        for _ in range(20):  # each as a worker would that has opened no log yet
            with pytest.raises(LogError, match="cannot be reached") as told:
                DecisionLog.open(uri, within_s=1.0)
            assert "hush" not in str(told.value)
        assert len(tried) < 5


def test_a_statement_that_takes_too_long_is_given_up_and_the_next_one_answered(emptied, row):
    log = DecisionLog.open(emptied(), within_s=0.3)
    with pytest.raises(LogError, match="cannot be read"):
        log._database.read("SELECT pg_sleep(20)")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            assert log.record(row()) is None
            break
        except LogError:
            time.sleep(0.1)
    assert log.decision("d_000001") == row()
    log.close()


def test_a_decision_that_was_written_before_the_connection_was_cut_is_written_once(emptied, row, monkeypatch):
    log = DecisionLog.open(emptied())
    once = log._database.ask

    def twice(sql, values, what):
        """The answer to the first try is lost on the way."""
        found = once(sql, values, what)
        return once(sql, values, what) if what == "written" else found

    monkeypatch.setattr(log._database, "ask", twice)
    assert log.record(row()) is None, "nobody else's decision stands there"
    assert log.record(row(2, request_id="q_1")).decision_id == "d_000001"
    assert [one.decision_id for one in log.decisions(0, 2 * NOW)] == ["d_000001"]
    assert log.response_counts() == {"wecom": (2, 0)}
    log.close()
