"""A file of the desk is there whole or not at all, and holds plain JSON; MLflow's copy names nobody."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import load
from features import forgotten
from training.desk.files import as_json, desk_folder, log_desk, write
from training.registry import Registry
from training.unnamed import digits_of

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
from pathlib import Path
from training.desk.files import write
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
write(Path(sys.argv[1]), "churn", "1", "card.json", {"new": 1})
"""


def test_who_is_killed_before_the_file_is_whole_leaves_the_old_one(tmp_path):
    path = write(tmp_path, "churn", "1", "card.json", {"old": 1})
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert json.loads(path.read_text()) == {"old": 1}
    assert len(list(path.parent.iterdir())) == 2  # the part that nobody reads
    write(tmp_path, "churn", "1", "card.json", {"new": 2})
    assert json.loads(path.read_text()) == {"new": 2}
    assert [one.name for one in path.parent.glob("*.json")] == ["card.json"]


def test_who_is_interrupted_leaves_nothing_beside_it(tmp_path, monkeypatch):
    def interrupt(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "churn", "1", "learned/p.json", {"new": 1})
    assert not [path for path in desk_folder(tmp_path, "churn", "1").rglob("*") if path.is_file()]


def test_who_was_forgotten_while_a_training_ran_is_in_no_file_that_it_writes(tmp_path):
    content = {"moves": {"up": [{"user_id": "ada", "p": 1}, {"user_id": "bo", "p": 0}]}, "rows": [1]}
    path = write(tmp_path, "churn", "2", "versus-1.json", content)
    assert json.loads(path.read_text()) == content
    forgotten.add(load(home=tmp_path), ["ada"])
    write(tmp_path, "churn", "2", "versus-1.json", content)
    assert json.loads(path.read_text()) == {"moves": {"up": [{"user_id": "bo", "p": 0}]}, "rows": [1]}


def test_what_is_no_number_is_null_and_text_stays_text(tmp_path):
    content = {1: np.float64("nan"), "a": np.array([[1, 2]]), "b": (np.bool_(True), float("inf")), "c": "沉默<b>"}
    path = write(tmp_path, "churn", "1", "card.json", content)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "1": None,
        "a": [[1, 2]],
        "b": [True, None],
        "c": "沉默<b>",
    }
    assert as_json(as_json(content)) == as_json(content)


def test_the_run_holds_the_same_files_and_no_id(tmp_path):
    config = load(tmp_path)
    write(tmp_path, "churn", "1", "versus-2.json", {"heads": {"p": {"up": [{"user_id": "anna@example.org"}]}}})
    write(tmp_path, "churn", "1", "learned/p.json", {"rows": 3})
    registry = Registry(config)
    with registry.run("churn", "train") as run:
        log_desk(tmp_path, run, "churn", "1")
    stored = registry.copied(run.run_id, "desk", tmp_path / "copied")
    files = {path.relative_to(stored).as_posix(): path.read_text() for path in stored.rglob("*.json")}
    assert set(files) == {"versus-2.json", "learned/p.json"}
    assert "anna" not in files["versus-2.json"]
    assert digits_of("anna@example.org") in files["versus-2.json"]
    assert registry.copied(run.run_id, "nothing", tmp_path) is None
