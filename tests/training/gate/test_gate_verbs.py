"""The gate's commands: what they print, what they refuse, how they end."""

import sqlite3
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import userops
from configs.audit import Entry, append, entries
from configs.errors import AuditError, ConfigError, GateError
from training.aliases import move


@pytest.fixture
def run(config, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(config.home))
    return lambda *words: CliRunner().invoke(userops.app, [str(word) for word in words])


def test_signing_takes_one_word_and_is_seen_in_the_audit(run, config, tmp_path):
    for words in ((), ("--approve", "--reject")):
        assert run("sign", "churn", *words).exit_code == 2
    done = run("sign", "churn", "2", "--reject", "--comment", "no: [red]x[/red]", "--json", tmp_path / "row.json")
    assert done.exit_code == 0, done.output
    assert "churn version 2: rejected by wu" in done.output
    (row,) = entries(config.audit_uri)
    assert row.comment == "no: [red]x[/red]"
    shown = run("audit", "--json", tmp_path / "audit.json")
    assert shown.exit_code == 0
    assert "[red]x[/red]" in shown.output
    assert "1 rows, none altered" in shown.output
    assert row.digest in (tmp_path / "audit.json").read_text()


def test_an_altered_row_ends_the_audit_with_an_error(run, config):
    run("sign", "churn", "2", "--reject", "--comment", "no")
    with sqlite3.connect(config.home / "audit.db") as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET who = 'eve'")
    connection.close()
    assert isinstance(run("audit").exception, AuditError)


def test_rollback_says_where_it_went_and_what_comes_next(run, config):
    assert isinstance(run("rollback", "churn").exception, GateError)
    move(config, {"churn": {"champion": "2", "previous": "1"}})
    done = run("rollback", "churn", "--comment", "complaints")
    assert "churn: champion is version 1 again (before: 2)" in done.output
    assert "userops release" in done.output
    assert entries(config.audit_uri)[-1].comment == "complaints"


def test_a_rejected_champion_is_pointed_out_wherever_it_is_met(run, config):
    move(config, {"churn": {"champion": "2"}})
    for done in (
        run("sign", "churn", "2", "--reject", "--comment", "too [bold]"),
        run("promote", "churn", "--version", "2"),
        run("audit"),
        run("audit", "churn"),
        run("status"),
    ):
        assert done.exit_code == 0, done.output
        assert "champion version 2 is rejected by wu (too [bold])" in done.output
        assert "userops rollback churn" in done.output
    assert "rejected by" not in run("audit", "value").output


def test_the_audit_of_a_model_that_there_is_not(run, config):
    failed = run("audit", "chrun").exception
    assert isinstance(failed, ConfigError)
    assert "churn" in str(failed.expected)
    append(config.audit_uri, Entry("wu", "promoted", "chrun", "1"))
    assert run("audit", "chrun").exit_code == 0


def test_a_version_is_an_argument_or_an_option(run, config):
    run("sign", "churn", "--version", "1", "--approve")
    run("sign", "churn", "2", "--approve")
    assert [row.version for row in entries(config.audit_uri)] == ["1", "2"]


def test_signing_twice_says_so(run, config):
    run("sign", "churn", "2", "--approve")
    done = run("sign", "churn", "2", "--approve", "--comment", "  ")
    assert "already, on" in done.output
    assert "not written again" in done.output
    assert len(entries(config.audit_uri)) == 1


def test_promotion_in_chinese(run, config):
    move(config, {"churn": {"champion": "2"}})
    assert "冠军已是第 2 版" in run("promote", "churn", "--version", "2", "--lang", "zh").output


def test_what_serves_has_the_mirror_beside_it_as_long_as_it_lasts(monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr("training.gate.mirror.command", lambda: [sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(
        subprocess, "Popen", lambda *given, **named: started.append(popen(*given, **named)) or started[0]
    )

    def serve(port):
        (process,) = started
        assert process.poll() is None
        raise KeyError(port)

    with pytest.raises(KeyError, match="3000"):
        userops.mirrored(serve)(3000)
    assert started[0].poll() is not None
