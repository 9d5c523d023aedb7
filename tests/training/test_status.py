"""`userops status`: what is kept where, whether it answers, and no password."""

import json

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

import userops

SECRET = "s3cret-of-tests"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def status(home):
    told = home.parent / "status.json"
    answer = CliRunner().invoke(userops.app, ["status", "--json", str(told)])
    return answer, json.loads(told.read_text())


def test_an_empty_home_is_looked_at_and_left_empty(home):
    answer, told = status(home)
    assert answer.exit_code == 0, answer.output
    assert told["decisions"] == f"sqlite:///{home}/decisions.db: nothing yet"
    assert not list(home.glob("*.db"))


def test_what_does_not_answer_is_said_with_its_reason_and_no_password(home, monkeypatch):
    for name in ("DECISIONS", "AUDIT"):
        monkeypatch.setenv(f"USEROPS_{name}", f"postgresql://wu:{SECRET}@127.0.0.1:1/userops")
    monkeypatch.setenv("USEROPS_TRACKING", f"http://wu:{SECRET}@127.0.0.1:1")
    monkeypatch.setenv("USEROPS_ONLINE", f"redis://:{SECRET}@127.0.0.1:1/0")
    answer, told = status(home)
    assert answer.exit_code == 1
    assert "no answer: online, decisions, audit, tracking" in answer.output
    for name in ("online", "decisions", "audit", "tracking"):
        assert "refused" in told[name], name
    assert SECRET not in answer.output + json.dumps(told)


def test_the_tables_of_another_program_are_no_mlflow(home, monkeypatch):
    uri = f"sqlite:///{home}/log.db"
    engine = create_engine(uri)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
    engine.dispose()
    monkeypatch.setenv("USEROPS_TRACKING", uri)
    answer, told = status(home)
    assert answer.exit_code == 1
    assert "tables of another program" in told["tracking"]
    again = CliRunner().invoke(userops.app, ["promote", "churn"])
    assert again.exit_code == 1
    assert "tables of another program" in str(again.exception)
