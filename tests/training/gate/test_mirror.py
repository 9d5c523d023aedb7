"""Tags of MLflow's versions follow the audit table, whoever wrote it, and never hide what is missing from it."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs.audit import Entry, append, entries
from configs.errors import RegistryError
from training import version_tags
from training.gate.mirror import mirror, tags_of_word
from training.registry import Registry
from training.version_tags import set_tags, tags_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["file", "client"])
def way(request, monkeypatch):
    """Both ways to the registry: its file, and MLflow's client where the file is not what we know."""
    if request.param == "client":
        monkeypatch.setattr(version_tags, "COLUMNS", {"of", "another", "MLflow"})
    return request.param


def say(config, who, word, version, comment="so"):
    (row,) = append(config.audit_uri, Entry(who, word, "churn", version, "", comment, {"model_json": "sha256:1"}))
    return row


def test_a_client_of_mlflow_reads_the_newest_word(config, way):
    say(config, "wu", "rejected", "2", "no")
    say(config, "wu", "approved", "2")
    newest = say(config, "lin", "approved", "2", "生鲜 'quoted' <b>")
    other = say(config, "mei", "asked", "1", "why?")
    assert mirror(config) == 2
    for version, row in (("2", newest), ("1", other)):
        tags = Registry(config).version("churn", version).tags
        assert {name: tags[name] for name in tags_of_word(row)} == tags_of_word(row)
        assert tags["heads"]  # what stood there stays
    assert "review" not in Registry(config).version("churn", "3").tags


def test_again_changes_nothing_and_a_new_word_only_its_version(config, way):
    say(config, "wu", "approved", "1")
    say(config, "wu", "approved", "2")
    assert (mirror(config), mirror(config)) == (2, 0)
    say(config, "lin", "rejected", "2", "no")
    assert mirror(config) == 1
    assert Registry(config).version("churn", "2").tags["review"] == "rejected"
    Registry(config).set_version_tags("churn", "1", {"review": "rejected"})  # by hand, in MLflow
    assert mirror(config) == 1
    assert Registry(config).version("churn", "1").tags["review"] == "approved"


def test_a_standing_rejection_shows_before_newer_words_until_it_is_taken_back(config, way):
    def shown():
        mirror(config)
        tags = Registry(config).version("churn", "2").tags
        return tags["review.by"], tags["review"]

    say(config, "wu", "asked", "2")
    assert shown() == ("wu", "asked")
    say(config, "lin", "rejected", "2", "no")
    say(config, "wu", "approved", "2")
    say(config, "lin", "asked", "2", "why?")
    assert shown() == ("lin", "rejected")
    say(config, "wu", "rejected", "2", "no")
    assert shown() == ("wu", "rejected")
    say(config, "wu", "approved", "2")
    assert shown() == ("lin", "rejected")
    say(config, "lin", "approved", "2")
    assert shown() == ("lin", "approved")


def test_words_about_versions_that_are_gone_are_passed_over(config, way):
    for model, version in (("churn", "9"), ("gone", "1"), ("churn", "x")):
        append(config.audit_uri, Entry("wu", "approved", model, version))
    append(config.audit_uri, Entry("wu", "released", "churn", "1"))
    assert mirror(config) == 0
    with pytest.raises(RegistryError if way == "file" else Exception):
        set_tags(config, {("churn", "9"): {"review": "approved"}})


def test_a_tag_that_names_a_missing_row_is_left_for_the_gate_to_miss(config, way):
    say(config, "lin", "approved", "2")
    cut = say(config, "wu", "rejected", "2", "no")
    mirror(config)
    with sqlite3.connect(config.home / "audit.db") as connection:
        connection.execute("DROP TRIGGER audit_no_delete")
        connection.execute(f"DELETE FROM audit WHERE seq = {cut.seq}")
    connection.close()
    assert mirror(config) == 0
    assert Registry(config).version("churn", "2").tags["review.audit"] == cut.digest


def test_all_tags_or_none(config):
    before = tags_of(config, [("churn", "1"), ("churn", "2")])
    with pytest.raises(RegistryError):
        set_tags(config, {("churn", "1"): {"review": "approved"}, ("churn", "9"): {"review": "approved"}})
    assert tags_of(config, [("churn", "1"), ("churn", "2")]) == before


def test_no_registry_no_tags(config):
    say(config, "wu", "approved", "2")
    (config.home / "mlflow.db").unlink()
    assert mirror(config) == 0
    assert not (config.home / "mlflow.db").exists()


def test_a_process_follows_the_table_and_ends_with_whoever_started_it(config):
    """Also: of MLflow it needs nothing."""
    code = (
        "import subprocess, sys\n"
        "from training.gate.mirror import command\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import sys, training.gate.mirror as m, threading\\n'"
        " 'stop = threading.Event()\\nm.POLL_SECONDS = 0.05\\nm.main()'])\n"
        "print(child.pid, command()[2], flush=True)\n"
        "sys.stdin.read()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "USEROPS_HOME": str(config.home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid, module = starter.stdout.readline().split()
    assert module == "training.gate.mirror"
    try:
        for word, comment in (("approved", "one"), ("rejected", "two")):
            say(config, "wu", word, "2", comment)
            until(
                lambda comment=comment: tags_of(config, [("churn", "2")])["churn", "2"].get("review.comment") == comment
            )
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert not any(heavy in maps for heavy in ("lightgbm", "pandas", "pyarrow"))
    finally:
        starter.kill()
        starter.communicate()
    until(lambda: not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text())
    assert [row.comment for row in entries(config.audit_uri)] == ["one", "two"]


def until(true):
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about")
