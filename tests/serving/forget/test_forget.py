"""`userops forget`, on a home with a person in every place: gone from all of them, killed anywhere, and said."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import userops
from configs import load
from configs.audit import entries, verify
from features.build import TABLES, build
from features.by_user import ByUser
from features.ingest import ingest
from features.publish import publish
from serving.forget import forget as module
from serving.forget.lines import mask
from serving.forget.person import person_of
from serving.log import DecisionLog, DecisionRow, Feedback, LiveEvent, ShownOffer
from training.unnamed import digits_of

ADA = 'ada-0042 "茶"'
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1e6)
ROOT = Path(__file__).parents[3]
SHOWN = (ShownOffer("a", 1, 0.5, 0.9, 1.0, "wecom", "home"),)


def decision(who, number=1):
    texts = ("ok", None, "sha256:b", "r1", "sha256:p", "sha256:v")
    content = (b"\x00" * 8, who.encode(), json.dumps({"user_id": who}).encode(), json.dumps({"user": who}).encode())
    return DecisionRow(f"d{number}", f"q{number}", who, NOW_US, *texts, *content, SHOWN)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with two people in every place, made once."""
    folder = tmp_path_factory.mktemp("made")
    config = load(home=folder / "home", now=NOW)
    source = folder / "till.json.yaml"
    columns = {"user_id": "who", "event_type": "what", "event_at": '"when"', "item_id": "item", "category_id": "cat"}
    source.write_text(
        json.dumps({"read": {"kind": "csv"}, "columns": {**columns, "amount": "paid"}, "dedup": "none"}),
        encoding="utf-8",
    )
    quoted = ADA.replace('"', '""')
    lines = ["who,what,when,item,cat,paid"]
    for who in (f'"{quoted}"', "bo", "wecom:x 1"):
        lines += [f"{who},{what},2024-02-0{day},i{day},c1,3" for day in (1, 2, 3) for what in ("view", "purchase")]
    lines += [f'"{quoted}",gift,2024-02-01,i1,c1,1', "bo,gift,2024-02-01,i1,c1,1"]
    (folder / "a.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert ingest(config, source, folder / "a.csv").accepted == 18
    build(config, [datetime(2024, 2, 20, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)], tables=tuple(TABLES))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("USEROPS_ONLINE", raising=False)
        publish(config, NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("features.by_user.FEW", 0)
        ByUser(config).files()
    assert (config.home / "events" / "by_user.parquet").exists()
    log = DecisionLog.open(config.decisions_uri)
    for number, who in enumerate((ADA, "bo", "wecom:x 1"), start=1):
        log.record(decision(who, number))
        log.feedback([Feedback(f"f{number}", f"d{number}", "a", "click", NOW_US)], at_us=NOW_US)
        log.events([LiveEvent(f"l{number}", who, "view", NOW_US)], at_us=NOW_US)
        log.set_opted_out(who, "sms", True, NOW_US)
    log.identify([("wecom", "x 1", ADA), ("card", "7", "bo")])
    log.close()
    for path in ("backtests", "reports", "desk/churn/2"):
        (config.home / path).mkdir(parents=True)
    people = pa.table({"user_id": [ADA, "bo"], "segment.store": ["s", None], "p": [0.5, 0.1]})
    pq.write_table(people.replace_schema_metadata({"log": '{"x": 1}'}), config.home / "backtests" / "f.parquet")
    lists = {"up": [{"user_id": ADA, "p": 1}, {"user_id": "bo"}], "down": [{"user_id": digits_of(ADA)}], "n": 2}
    (config.home / "desk" / "churn" / "2" / "versus-1.json").write_text(json.dumps(lists), encoding="utf-8")
    (config.home / "reports" / "theirs.html").write_text(f"<p>{ADA}</p>", encoding="utf-8")
    (config.home / "reports" / "others.html").write_text(f"<p>{ADA}2</p>", encoding="utf-8")
    (config.home / "service.log").write_text(
        f"GET /v1/users/wecom:x%201/profile\nno score for {ADA}\nbo\n", encoding="utf-8"
    )
    return folder


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    shutil.copytree(made / "home", tmp_path / "home")
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USEROPS_NOW", NOW.isoformat())
    monkeypatch.delenv("USEROPS_ONLINE", raising=False)
    return load()


def names(config, *who):
    """Every file that names one of them, looked into as deep as its format goes."""
    found = []
    for path in sorted(path for path in config.home.rglob("*") if path.is_file()):
        if path.name.endswith("-shm") or not path.exists():  # SQLite's, which go when the file is closed
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += repr(pq.read_table(path).to_pydict()).encode()
        if path.suffix == ".db":
            with sqlite3.connect(path) as connection:
                content += "\n".join(connection.iterdump()).encode(errors="replace")
            connection.close()
        forms = {form.encode() for one in who for form in (one, json.dumps(one)[1:-1], one.replace('"', '\\"'))}
        if any(form in content.replace(f"{ADA}2".encode(), b"") for form in forms):
            found.append(path.relative_to(config.home).as_posix())
    return found


def run(*more):
    answer = CliRunner().invoke(userops.app, ["forget", ADA, *more])
    return answer.exit_code, answer.output


def test_nothing_names_them_any_more_and_others_stay(home, tmp_path):
    assert len(names(home, ADA, "wecom:x 1")) > 10
    log = DecisionLog.open(home.decisions_uri)
    counts, responses = log.global_counts(["a"], 0), log.response_counts()
    code, told = run("--yes", "--json", str(tmp_path / "f.json"))
    assert code == 0, told
    assert names(home, ADA, "wecom:x 1", "wecom:x%201") == []
    assert ADA not in (tmp_path / "f.json").read_text(encoding="utf-8")
    done = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    held = {place["name"]: place["removed"] for place in done["places"]}
    assert held == {
        **dict.fromkeys(("log_requests", "log_offers", "log_decisions", "log_feedback", "log_live_events"), 2),
        **dict.fromkeys(("log_contents", "log_actions", "table_user", "table_user_category", "table_history"), 4),
        **dict.fromkeys(("log_settings", "online", "desk", "lines"), 2),
        **dict.fromkeys(("quarantine", "forecasts", "reports", "identities"), 1),
        "table_profile": 4,
        "events": 12,
        "attributes": 0,
    }
    assert (log.global_counts(["a"], 0), log.response_counts()) == (counts, responses)
    assert [kept.user_id for kept in log.decisions(0, 2 * NOW_US)] == ["bo"]
    log.close()
    others = {"desk/churn/2/versus-1.json", "backtests/f.parquet", "online.db", "decisions.db", "service.log"}
    assert others <= set(names(home, "bo"))
    assert pq.read_metadata(home.home / "backtests" / "f.parquet").metadata[b"log"] == b'{"x": 1}'
    assert json.loads((home.home / "desk/churn/2/versus-1.json").read_text())["up"] == [{"user_id": "bo"}]
    assert (home.home / "reports" / "others.html").exists()
    (row,) = entries(home.audit_uri)
    assert (row.action, row.evidence["digest"], verify(home.audit_uri)) == ("forget", done["digest"], 1)
    assert "not touched" in told
    code, told = run("--yes")
    assert (code, "nothing is left" in told, len(entries(home.audit_uri))) == (0, True, 1)
    code, told = run("--yes", "--lang", "zh")
    assert "已无任何数据" in told


def test_without_yes_it_asks_and_changes_nothing(home):
    before = {path: path.read_bytes() for path in home.home.rglob("*.parquet")}
    code, told = run()
    assert code == 1
    assert "wecom:x 1" in told
    assert {path: path.read_bytes() for path in home.home.rglob("*.parquet")} == before
    assert "nothing was changed" in CliRunner().invoke(userops.app, ["forget", "bo"], input="n\n").output


STEPS = ("forget_events", "forget_snapshots", "forget_online", "mask", "sweep_scratch", "_audited")


def test_stopped_before_any_step_the_same_command_finishes(home, monkeypatch):
    class Stopped(BaseException):
        pass

    def stop(*values):
        raise Stopped

    for step in STEPS:  # each time it gets one step further
        with monkeypatch.context() as patch:
            patch.setattr(module, step, stop)
            with pytest.raises(Stopped):
                CliRunner().invoke(userops.app, ["forget", ADA, "--yes"], catch_exceptions=False)
    assert entries(home.audit_uri) == []
    code, told = run("--yes")
    assert code == 0, told
    assert names(home, ADA, "wecom:x 1") == []
    assert verify(home.audit_uri) == 1


def test_killed_while_it_swaps_the_files_of_events(home):
    code = """
import os, signal, sys
from features.ledger import Ledger
def kill(self, changed, files):
    if files:
        os.kill(os.getpid(), signal.SIGKILL)
Ledger.rewrite = kill
import userops
sys.argv = ["userops", "forget", sys.argv[1], "--yes"]
userops.main()
"""
    killed = subprocess.run(
        [sys.executable, "-c", code, ADA], cwd=ROOT, env=os.environ, capture_output=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert any(path.startswith("events/data") for path in names(home, ADA))
    assert run("--yes")[0] == 0
    assert names(home, ADA, "wecom:x 1") == []


def test_an_identity_means_its_user(home):
    log = DecisionLog.open(home.decisions_uri)
    for name in (ADA, f"  {ADA} ", "wecom:x 1"):
        assert person_of([log], name).user_ids == (ADA, "wecom:x 1")
    assert person_of([log], "card:8").user_ids == ("card:8",)
    for impossible in ("", " \n", "a\x00b", "\ud800"):
        with pytest.raises(Exception, match="no id of a user"):
            person_of([log], impossible)
    log.close()


def test_a_log_and_a_store_that_were_used_before_are_emptied_too(home, tmp_path, monkeypatch, redis_uri):
    """The home moved to another log and to Redis; its files are still there."""
    monkeypatch.setenv("USEROPS_DECISIONS", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    monkeypatch.setenv("USEROPS_ONLINE", redis_uri)
    code, told = run("--yes")
    assert code == 0, told
    assert names(home, ADA, "wecom:x 1") == []
    log = DecisionLog.open(load().decisions_uri)
    assert log.is_forgotten([ADA, "wecom:x 1"])
    log.close()


def test_somebody_unknown_is_put_on_the_list(home):
    answer = CliRunner().invoke(userops.app, ["forget", "nobody", "--yes"])
    assert "nothing was known of this person" in answer.output
    log = DecisionLog.open(home.decisions_uri)
    assert log.events([LiveEvent("x", "nobody", "view", NOW_US)], at_us=NOW_US).rejected[0].error == "FORGOTTEN"
    log.close()


def test_masking_moves_no_byte(tmp_path):
    path = tmp_path / "service.log"
    text = "a u1 b\nu12 u1\n\x00u1\xff" * 3
    path.write_bytes(text.encode("latin-1"))
    assert mask(path, ["u1", "*", ""]) == 9
    assert path.read_bytes() == text.replace("u12", "U-2").replace("u1", "**").replace("U-2", "u12").encode("latin-1")
    assert mask(path, ["u1"]) == 0
    assert mask(tmp_path / "none", ["u1"]) == 0
    path.write_bytes(
        '/v1/users/wecom:a%20b/x wecom%3aa%20b wecom:a b {"id": "wecom:a b"} "茶\\"" "\\u8336\\""'.encode()
    )
    assert mask(path, ["wecom:a b", '茶"']) == 6
    assert path.read_bytes().replace(b"*", b"") == b'/v1/users//x   {"id": ""} "" ""'


def test_an_id_that_log_lines_hash_is_masked_too(tmp_path):
    path = tmp_path / "service.log"
    path.write_text(f"GET /v1/users/{digits_of('u1')}/profile\n", encoding="utf-8")
    assert mask(path, ["u1"]) == 1
    assert path.read_text() == f"GET /v1/users/{'*' * 16}/profile\n"


def test_somebody_who_returns_is_somebody_new(home, made):
    run("--yes")
    assert "is on no list" in CliRunner().invoke(userops.app, ["forget", "bo", "--lift"]).output
    code, told = run("wecom:x 1", "--lift")  # both ids: an identity is not known to be theirs any more
    assert (code, "off 4 list(s)" in told) == (0, True), told
    assert CliRunner().invoke(userops.app, ["forget", "bo", "card:7", "--yes"]).exit_code == 2
    log = DecisionLog.open(home.decisions_uri)
    assert log.events([LiveEvent("back", ADA, "view", NOW_US)], at_us=NOW_US).accepted == 1
    assert log.record(decision(ADA, 9)) is None
    log.close()
    assert ingest(home, made / "till.json.yaml", made / "a.csv").accepted == 12
    assert names(home, ADA)
    assert run("--yes")[0] == 0
    assert names(home, ADA) == []
    assert [row.action for row in entries(home.audit_uri)] == ["forget", "lift", "lift", "forget"]
