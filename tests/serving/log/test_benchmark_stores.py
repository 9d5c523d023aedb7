"""What a benchmark measures with is nobody's: a schema of its own in a PostgreSQL of yours, gone afterwards."""

import psycopg
import pytest

from configs import load
from configs.errors import UseropsError
from features import online
from serving.benchmark_stores import copied, measured_stores, told
from serving.log import DecisionLog


def schemas(uri):
    with psycopg.connect(uri.replace("+psycopg", "")) as connection:
        sql = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1"
        return [row[0] for row in connection.execute(sql)]


def test_decisions_go_to_a_schema_that_goes_with_the_benchmark(tmp_path, emptied, row, monkeypatch):
    uri = emptied()
    monkeypatch.setenv("USEROPS_DECISIONS", uri)
    with measured_stores(load(tmp_path)) as given:
        assert told(given) == "sqlite, postgresql"
        log = DecisionLog.open(given["USEROPS_DECISIONS"])
        log.record(row())
        log.close()
        assert len(schemas(uri)) == 2
    assert schemas(uri) == ["public"]
    log = DecisionLog.open(uri)
    assert list(log.decisions(0, 2**62)) == []
    log.close()


def test_embedded_stores_are_those_of_the_home_that_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_DECISIONS", "postgresql://elsewhere/log")
    with measured_stores(load(tmp_path), "embedded") as given:
        assert given == {"USEROPS_ONLINE": "sqlite", "USEROPS_DECISIONS": "sqlite"}
    with pytest.raises(UseropsError, match="no such stores"), measured_stores(load(tmp_path), "some"):
        pass


def test_a_home_that_published_nothing_cannot_be_copied(tmp_path):
    empty, target = (online.SqliteStore(tmp_path / name) for name in ("a.db", "b.db"))
    with pytest.raises(UseropsError, match="nothing is published"):
        copied(empty, target)
