"""The schema forward and back, one step at a time, with a row in every table: nothing goes without being told."""

import json

import psycopg
import pytest
import sqlalchemy
from typer.testing import CliRunner

import userops
from configs.errors import Forgotten, LogError
from serving.log import DecisionLog
from serving.log.database import connect
from serving.log.migrate import BASE, HEAD, _engine, migrate, steps, version

FIRST, *LATER = [step.version for step in steps()]
VALUES = {
    sqlalchemy.Text: "名",
    sqlalchemy.String: "名",
    sqlalchemy.LargeBinary: b"\x00\xff",
    sqlalchemy.Float: 0.1,
    sqlalchemy.Integer: 7,
}


def dump(database):
    """Every row of every table, as columns by name."""
    engine = _engine(database)
    try:
        with engine.connect() as connection:
            metadata = sqlalchemy.MetaData()
            metadata.reflect(connection)
            tables = [table for name, table in metadata.tables.items() if name not in ("alembic_version", "salts")]
            found = {
                table.name: [dict(row) for row in connection.execute(table.select()).mappings()] for table in tables
            }
            return {
                name: [
                    {key: bytes(value) if isinstance(value, memoryview) else value for key, value in row.items()}
                    for row in rows
                ]
                for name, rows in found.items()
            }
    finally:
        engine.dispose()


def fill(database):
    """One row into every table."""
    engine = _engine(database)
    try:
        with engine.begin() as connection:
            metadata = sqlalchemy.MetaData()
            metadata.reflect(connection)
            for table in metadata.tables.values():
                if table.name == "alembic_version":
                    continue
                row = {
                    column.name: next(value for kind, value in VALUES.items() if isinstance(column.type, kind))
                    for column in table.columns
                }
                connection.execute(table.insert(), row)
    finally:
        engine.dispose()


def within(before, after):
    """Whether every row is there still, in the columns that both have."""
    for name, rows in before.items():
        for row in rows:
            kept = [{key: one[key] for key in row if key in one} for one in after.get(name, [])]
            if {key: value for key, value in row.items() if not kept or key in kept[0]} not in kept:
                return False
    return True


@pytest.fixture
def database(fresh):
    opened = connect(fresh)
    migrate(opened, FIRST)
    yield opened
    opened.close()


def test_every_step_forward_keeps_every_row_and_every_step_back_gives_the_first_again(database):
    fill(database)
    first = dump(database)
    assert all(len(rows) == 1 for rows in first.values())
    assert len(first) > 10
    before = first
    for step in LATER:
        assert migrate(database, step) == {}
        assert version(database) == step
        after = dump(database)
        assert within(before, after), f"{step} loses rows"
        before = after
    for step in [FIRST, *LATER][-2::-1]:
        assert migrate(database, step) == {}, "nothing was written since, so nothing goes"
        assert version(database) == step
    assert dump(database) == {**first, "forgotten": []}


def test_back_is_refused_with_what_would_go_and_drops_just_that_when_told(database):
    fill(database)
    migrate(database, HEAD)
    fill_forgotten(database)
    there = dump(database)
    with pytest.raises(LogError, match="would drop what is there") as refused:
        migrate(database, BASE)
    assert "decisions: 1, feedback: 1" in refused.value.got
    assert (version(database), dump(database)) == (HEAD, there), "a refused step changes nothing"
    gone = migrate(database, BASE, drop=True)
    assert gone == {**dict.fromkeys(there, 1), "forgotten": 2}
    assert version(database) is None
    assert dump(database) == {}


def test_going_back_and_forward_lets_nobody_come_back(fresh, row):
    serving = DecisionLog.open(fresh)  # a service that goes on meanwhile
    serving.forget(["ada"], 5)
    assert migrate(serving._database, "0003") == {}
    other = DecisionLog.open(fresh)
    assert other.is_forgotten(["ada"])
    other.forget(["bo"], 6)
    for log in (serving, other):
        for who in ("ada", "bo"):
            with pytest.raises(Forgotten):
                log.record(row(user_id=who))
    serving.close()
    other.close()


def fill_forgotten(database):
    with database.write() as inside:
        inside.many("INSERT INTO forgotten (digest, at_us) VALUES (?, ?)", [("a", 1), ("b", 2)])


def test_a_step_that_does_not_exist_is_refused_by_name(database):
    with pytest.raises(LogError, match="no such step") as refused:
        migrate(database, "0999")
    assert FIRST in str(refused.value)


def test_the_verb_shows_the_steps_and_moves(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    monkeypatch.setenv("USEROPS_DECISIONS", fresh)
    report = tmp_path / "moved.json"

    def run(*words):
        done = CliRunner().invoke(userops.app, ["decisions", "migrate", "--json", str(report), *words])
        if done.exception is None:
            return done.output, json.loads(report.read_text())
        return done.exception, None

    assert run()[1] == {"before": BASE, "now": BASE, "dropped": {}}, "looking moves nothing"
    assert run("--to", "head")[1] == {"before": BASE, "now": HEAD, "dropped": {}}
    DecisionLog.open(fresh).close()
    database = connect(fresh)
    fill_forgotten(database)
    assert isinstance(run("--to", BASE)[0], LogError)
    said, moved = run("--to", FIRST)
    assert moved == {"before": HEAD, "now": FIRST, "dropped": {}}
    assert "userops@" not in said
    assert run()[1] == {"before": FIRST, "now": FIRST, "dropped": {}}
    assert run("--to", HEAD)[1] == {"before": FIRST, "now": HEAD, "dropped": {}}
    said, moved = run("--to", BASE, "--drop")
    assert moved == {"before": HEAD, "now": BASE, "dropped": {"forgotten": 2}}
    assert "2 of forgotten dropped" in " ".join(said.split())
    database.close()


def test_a_database_of_another_program_is_left_alone(server):
    """MLflow keeps the number of its schema under the name that we do."""
    name = f"{server}other"
    with psycopg.connect(server.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE other")
    with psycopg.connect(name.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('1b5f0d9ad7c1')")
        connection.execute("CREATE SCHEMA own")
        theirs = connect(name)
        for ask in (lambda: DecisionLog.open(name), lambda: migrate(theirs, HEAD), lambda: version(theirs)):
            with pytest.raises(LogError, match="another program"):
                ask()
        theirs.close()
        # In a schema of its own it stands beside it.
        log = DecisionLog.open(f"{name}?options=-csearch_path%3Down")
        assert version(log._database) == HEAD
        log.close()
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("1b5f0d9ad7c1",)]


def test_decisions_from_before_and_after_they_were_packed_are_read_and_go_back_as_they_were(fresh, row):
    packed = DecisionLog.open(fresh)
    packed.record(row())
    assert packed._database.read("SELECT inputs, response FROM decisions") == [("", "")]
    assert migrate(packed._database, "0005") == {}
    (plain,) = packed._database.read("SELECT inputs, response FROM decisions")
    assert plain == (row().inputs.decode(), row().response.decode())
    assert migrate(packed._database, HEAD) == {}
    packed.record(row(2))
    assert [packed._database.read("SELECT count(*) FROM decisions WHERE packed IS NULL")] == [[(1,)]]
    assert list(packed.decisions(0, 2 * row().decided_at_us)) == [row(), row(2)]
    for number in (1, 2):
        assert packed.request(f"q_{number}", 0).response == row().response
    packed.close()


def test_counters_in_parts_are_one_number_before_and_after(fresh, row):
    log = DecisionLog.open(fresh)
    for number in range(12):
        log.record(row(number))
    counted = log.response_counts(), log.global_counts(["a", "b"], 0)
    assert counted[0] == {"wecom": (24, 0)}
    assert migrate(log._database, "0004") == {}
    assert log._database.read("SELECT shown FROM channel_counts") == [(24,)]
    assert log._database.read("SELECT n FROM offer_counts ORDER BY offer_id") == [(12,), (12,)]
    assert migrate(log._database, HEAD) == {}
    assert (log.response_counts(), log.global_counts(["a", "b"], 0)) == counted
    log.close()
