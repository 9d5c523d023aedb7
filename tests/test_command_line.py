"""The command line where things go wrong, and what it promises about itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import userops
from serving.log import DecisionLog

ROOT = Path(__file__).parents[1]


def verbs():
    groups = {"features": userops.features_app, "benchmark": userops.benchmark_app}
    groups = [([], userops.app), *(([group.name], group.typer_instance) for group in userops.app.registered_groups)]
    return [
        [*words, command.name or command.callback.__name__]
        for words, app in groups
        for command in app.registered_commands
    ]


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_every_option_ends_with_its_default(words):
    shown = CliRunner().invoke(userops.app, [*words, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert shown.exit_code == 0
    options = shown.output.split("Options:")[1]
    entries = [" ".join(part.split()) for part in options.replace("\n  -", "\n\0-").split("\0")]
    for entry in entries:
        if entry.startswith("--") and "-h, --help" not in entry:
            assert entry.endswith("]"), entry
            assert "[default: " in entry or "[required]" in entry, entry


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "foo"), "there is no model 'foo'"),
        (("promote", "foo"), "there is no model 'foo'"),
        (("status", "--json", "/"), "Is a directory"),
        (("status", "--json", "nowhere/x.json"), "there is no folder nowhere"),
        (("ingest", "nothing", "--data", "nowhere.csv"), "nothing"),
        (("features", "build"), "error: "),
        (("release",), "there is no champion to release"),
    ],
)
def test_mistakes_end_with_a_sentence_and_no_traceback(command_line, tmp_path, words, said):
    done = command_line.run(tmp_path, *words, check=False)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_release_is_said_once(command_line, tmp_path):
    for words in (("score", "churn", "u1"), ("explain", "u1"), ("decide", "u1", "--channel", "app")):
        done = command_line.run(tmp_path, *words, check=False)
        assert done.returncode == 1, done.stderr
        assert done.stderr.count("there is no release yet") == 1, done.stderr
        assert "run: userops train && userops promote && userops release" in done.stderr


def test_identities_are_learned_from_a_file(command_line, tmp_path):
    (tmp_path / "ids.csv").write_text("namespace,id,user_id\nwechat,007,u1\nphone,138,u1\n", encoding="utf-8")
    done = command_line.run(tmp_path, "identify", str(tmp_path / "ids.csv"))
    assert "2 identities known" in done.stdout, done.stderr
    log = DecisionLog.open(f"sqlite:///{tmp_path / 'decisions.db'}")
    assert log.resolve("phone", "138") == "u1"
    assert log.resolve("wechat", "7") is None
    log.close()
    (tmp_path / "bad.csv").write_text("namespace,user\nwechat,u1\n", encoding="utf-8")
    done = command_line.run(tmp_path, "identify", str(tmp_path / "bad.csv"), check=False)
    assert done.returncode == 1
    assert "expected: columns namespace, id, user_id" in done.stderr


def test_a_demo_leaves_other_events_alone(command_line, tmp_path):
    (tmp_path / "till.yaml").write_text(
        "about: a till\nread: {kind: csv}\ncolumns: {user_id: u, event_type: \"'purchase'\", event_at: t::TIMESTAMP}\n"
        "dedup: exact\n",
        encoding="utf-8",
    )
    (tmp_path / "till.csv").write_text("u,t\na,2024-01-01\n", encoding="utf-8")
    command_line.run(tmp_path / "home", "ingest", str(tmp_path / "till.yaml"), "--data", str(tmp_path / "till.csv"))
    config = userops.load(tmp_path / "home")
    assert userops.demo_home(config, "shop").home == tmp_path / "home" / "demo-shop"
    assert userops.demo_home(userops.load(tmp_path / "empty"), "shop").home == tmp_path / "empty"
    assert userops.demo_home(userops.load(tmp_path / "empty"), "shop").home == tmp_path / "empty"


def test_ctrl_c_says_that_nothing_is_lost(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "userops.py"), "simulate", str(tmp_path / "shop"), "--users", "60000"],
        env={**os.environ, "USEROPS_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background of a script hands on a Ctrl-C that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".shop-*")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)  # in the midst of it
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_loads_no_heavy_library_before_a_verb_needs_it():
    heavy = {"pandas", "ibis", "mlflow", "lightgbm", "feast", "sklearn", "pydantic", "duckdb", "sqlalchemy"}
    code = f"import sys, userops; print(sorted({heavy!r} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
