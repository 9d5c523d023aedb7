"""The audit table in SQLite and in PostgreSQL: it only grows, and whoever gets round that is found out."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from configs.audit import FIRST, Entry, append, entries, verify
from configs.errors import AuditError

ROOT = Path(__file__).parents[2]
SAID = Entry("lin", "approved", "churn", "3", "run3", "生鲜 is fine; '); DROP TABLE audit; --", {"p": 0.1, "中": [1]})


@pytest.fixture(params=["sqlite", "postgres"])
def uri(request, tmp_path):
    """The address of a database in which there is nothing yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'some where' / 'audit.db'}"
        return
    server = request.getfixturevalue("server")
    with psycopg.connect(server.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE audited")
        yield server + "audited"
        connection.execute("DROP DATABASE audited WITH (FORCE)")


def execute(uri, *statements):
    """Run SQL as somebody who has the database's own tools."""
    if uri.startswith("sqlite"):
        with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()
        return
    with psycopg.connect(uri.replace("+psycopg", "")) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def without_guards(uri):
    names = ("update", "delete", "replace") if uri.startswith("sqlite") else ("change", "truncate")
    on = "" if uri.startswith("sqlite") else " ON audit"
    return [f"DROP TRIGGER audit_no_{name}{on}" for name in names]


def test_rows_come_back_as_they_were_written_and_chained(uri):
    assert entries(uri) == []
    assert verify(uri) == 0
    (first,) = append(uri, SAID)
    second, third = append(uri, Entry("wu", "promoting", "churn", "3"), Entry("wu", "promoting", "value", "1"))
    assert entries(uri) == [first, second, third]
    assert (first.comment, first.evidence) == (SAID.comment, SAID.evidence)
    assert [row.seq for row in (first, second, third)] == [1, 2, 3]
    assert [row.previous for row in (first, second, third)] == [FIRST, first.digest, second.digest]
    assert first.at.endswith("+00:00")
    assert first.at <= second.at <= third.at
    assert entries(uri, "value") == [third]
    assert entries(uri, "churn", "3") == [first, second]
    assert json.loads(json.dumps(first.as_json()))["evidence"] == {"p": 0.1, "中": [1]}
    assert verify(uri) == 3


def test_the_database_refuses_to_change_delete_or_replace(uri):
    rows = append(uri, SAID, SAID)
    refused = (sqlite3.IntegrityError, psycopg.errors.RaiseException, psycopg.errors.UniqueViolation)
    columns = "seq, who, action, model, version, run_id, comment, evidence, at, previous, digest"
    again = f"INTO audit ({columns}) SELECT 1, 'eve', action, model, version, run_id, '', '{{}}', at, previous, digest"
    for statement in (
        "UPDATE audit SET who = 'eve' WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 2",
        f"INSERT {'OR REPLACE ' if uri.startswith('sqlite') else ''}{again} FROM audit WHERE seq = 1",
        *(() if uri.startswith("sqlite") else ("TRUNCATE audit",)),
    ):
        with pytest.raises(refused):
            execute(uri, statement)
    assert entries(uri) == rows
    assert verify(uri) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'eve' WHERE seq = 2",
        "UPDATE audit SET evidence = '{}' WHERE seq = 2",
        "UPDATE audit SET at = '2020-01-01T00:00:00.000000+00:00' WHERE seq = 2",
        "UPDATE audit SET seq = 9 WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 1",
    ],
)
def test_whoever_gets_round_the_triggers_is_found_out(tmp_path, statement):
    uri = f"sqlite:///{tmp_path / 'audit.db'}"
    append(uri, SAID, SAID, SAID)
    execute(uri, *without_guards(uri), statement)
    with pytest.raises(AuditError, match="tampered with at row"):
        verify(uri)


def test_tampering_is_found_in_postgres_too(server):
    uri = server + "postgres"
    append(uri, SAID, SAID)
    execute(uri, *without_guards(uri), "UPDATE audit SET comment = '' WHERE seq = 1")
    with pytest.raises(AuditError, match="tampered with at row 1"):
        verify(uri)
    execute(uri, "DROP TABLE audit")


def test_all_entries_are_written_or_none(tmp_path):
    uri = f"sqlite:///{tmp_path / 'audit.db'}"
    append(uri, SAID)
    with pytest.raises(AuditError):
        append(uri, SAID, Entry("\udcff", "approved", "churn", "3"))
    with pytest.raises(AuditError, match="no action"):
        append(uri, SAID, Entry("lin", "shrugged", "churn", "3"))
    assert verify(uri) == 1


def test_writers_of_several_processes_make_one_chain(uri):
    code = (
        "import sys; from configs.audit import Entry, append\n"
        "for number in range(10): append(sys.argv[1], Entry(sys.argv[2], 'approved', 'churn', str(number)))"
    )
    writers = [subprocess.Popen([sys.executable, "-W", "error", "-c", code, uri, who], cwd=ROOT) for who in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert verify(uri) == 30
    for who in "abc":
        assert [row.version for row in entries(uri) if row.who == who] == [str(number) for number in range(10)]


def test_addresses_that_cannot_be(tmp_path):
    with pytest.raises(AuditError, match="cannot be kept there"):
        append("redis://localhost", SAID)
    (tmp_path / "audit.db").write_bytes(b"no database" * 100)
    with pytest.raises(AuditError, match=r"(?s)cannot be used.*run: userops audit"):
        entries(f"sqlite:///{tmp_path / 'audit.db'}")
    with pytest.raises(AuditError, match="in PostgreSQL") as told:
        append("postgresql://userops:secret@127.0.0.1:1/none", SAID)
    assert "secret" not in str(told.value)
