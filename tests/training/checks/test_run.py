"""Outcomes have an identity, six statuses, and a place where people and the gate find them."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import userops
from configs import load
from configs.errors import ConfigError, TrainingError
from configs.questions import QUESTIONS
from features.catalog import digest
from features.periods import as_utc, now
from training.checks import BLOCKERS, STATUSES, Outcome
from training.checks import run as running
from training.checks.catalogue import CHECKS
from training.checks.outcome import SEVERITIES, Check, Found
from training.checks.run import check_of, look_at, run_checks, stored_checks, stored_outcomes
from training.checks.words import SEVERITY, STATUS
from training.registry import Registry

WORDS = {"en": "said", "zh": "说"}


def asked(code, status, severity="warning", kinds=("users",)):
    return Check(code, WORDS, severity, lambda subject: Found(status, WORDS, {"n": 1}), kinds)


def refuses(subject):
    raise TrainingError("no labels yet", run="userops ingest shop")


def about(kind="users", accepted=None):
    return SimpleNamespace(kind=kind, model=SimpleNamespace(name="churn", ignored_checks=accepted or {}))


def test_every_check_has_a_code_a_title_and_a_severity():
    assert [check.code for check in CHECKS] == [f"P{n:03d}" for n in range(1, 11)]
    assert all(check.title["en"] and check.title["zh"] and check.severity in SEVERITIES for check in CHECKS)
    assert {check.code for check in CHECKS if check.severity == "blocker"} <= set(BLOCKERS)
    assert all(check.otherwise for check in CHECKS if len(check.kinds) < 3)
    assert check_of("P004") is CHECKS[3]
    with pytest.raises(ConfigError, match="there is no check 'P011'"):
        check_of("P011")


@pytest.mark.parametrize("status", ["issue", "tip", "passed"])
def test_what_a_look_finds_is_the_outcome(status):
    outcome = look_at(about(), asked("P001", status, "blocker"))
    assert (outcome.status, outcome.severity) == (status, "tip" if status == "tip" else "blocker")
    assert outcome.blocks == (status == "issue")
    assert outcome.next_step["zh"]


def test_a_question_without_meaning_is_not_applicable():
    assert look_at(about("interest"), asked("P001", "passed")).status == "not_applicable"


def test_a_question_that_cannot_be_asked_is_skipped_with_the_reason():
    outcome = look_at(about(), Check("P001", WORDS, "blocker", refuses))
    assert outcome.status == "skipped"
    assert not outcome.blocks
    assert "no labels yet" in outcome.explanation["zh"]
    assert outcome.next_step["en"] == "Run: userops ingest shop"


def test_an_accepted_finding_is_ignored_and_a_pass_stays_a_pass():
    accepted = {"P001": "known since May"}
    found = look_at(about(accepted=accepted), asked("P001", "issue", "blocker"))
    assert (found.status, found.blocks) == ("ignored", False)
    assert "known since May" in found.explanation["en"]
    assert look_at(about(accepted=accepted), asked("P001", "passed")).status == "passed"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A registered version and three checks: one that fires, one that passes, one that leaves a file."""
    config = load(tmp_path)
    registry = Registry(config)
    with registry.run("churn", "train") as run:
        version = registry.new_version("churn", run, {})
        run.json({"version": version}, "model/model.json")

    def leaves(subject):
        subject.files["report.html"] = "<p>report</p>"
        return Found("tip", WORDS, {})

    checks = (asked("P001", "issue", "blocker"), asked("P002", "passed"), Check("P009", WORDS, "tip", leaves))
    monkeypatch.setattr(running, "CHECKS", checks)
    monkeypatch.setattr(running, "content_hash", lambda config: "sha256:data")
    return config, registry, version, run.run_id


def test_outcomes_are_kept_with_the_version(home):
    config, registry, version, run_id = home
    model = config.models["churn"]
    assert stored_outcomes(config, "churn", version) == []
    first = run_checks(config, model, version)
    assert [one.status for one in first] == ["issue", "passed", "tip"]
    assert stored_outcomes(config, "churn", version) == first
    assert (config.home / "mlartifacts" / "churn" / run_id / "artifacts" / "report.html").exists()
    tags = registry.version("churn", version).tags
    assert tags["check.P001"] == "issue"
    assert tags["checks"] == "1 issue, 1 tip, 1 passed, 0 not_applicable, 0 skipped, 0 ignored"
    # Asking one again leaves what the others said.
    accepting = replace(model, ignored_checks={"P001": "a test"})
    assert [one.status for one in run_checks(config, accepting, version, only=["P001"])] == ["ignored"]
    assert [one.status for one in stored_outcomes(config, "churn", version)] == ["ignored", "passed", "tip"]
    with pytest.raises(ConfigError, match="P777"):
        run_checks(config, replace(model, ignored_checks={"P777": "a slip"}), version)


def test_outcomes_are_kept_with_what_they_are_said_of(home, monkeypatch):
    config, _, version, run_id = home
    model = config.models["churn"]
    assert stored_checks(config, "churn", version)["outcomes"] == []
    run_checks(config, model, version, thorough=True)
    first = stored_checks(config, "churn", version)
    file = config.home / "mlartifacts" / "churn" / run_id / "artifacts" / "model" / "model.json"
    assert first["model_json"] == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert (first["data_hash"], first["catalogue_digest"]) == ("sha256:data", digest())
    assert first["thorough"] is True
    assert as_utc(first["at"]) <= now(config)
    # One quick look among thorough ones: the whole is not thorough any more.
    run_checks(config, model, version, only=["P002"], thorough=False)
    assert stored_checks(config, "churn", version)["thorough"] is False
    # What was said of other data says nothing of these.
    monkeypatch.setattr(running, "content_hash", lambda config: "sha256:other")
    run_checks(config, model, version, only=["P002"], thorough=True)
    last = stored_checks(config, "churn", version)
    assert [one["code"] for one in last["outcomes"]] == ["P002"]
    assert (last["data_hash"], last["thorough"]) == ("sha256:other", True)


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("issue", 4)])
def test_the_command_counts_six_outcomes_and_ends_with_4_when_one_blocks(monkeypatch, tmp_path, status, code):
    outcome = Outcome("P001", {"en": "a question", "zh": "问题"}, "blocker", status, {"n": 1}, WORDS, WORDS)
    monkeypatch.setattr(running, "run_checks", lambda *given, **named: [outcome])
    file = tmp_path / "checks.json"
    done = CliRunner().invoke(userops.app, ["check", "churn", "--lang", "zh", "--json", str(file)])
    assert done.exit_code == code, done.output
    assert all(f" {STATUS[name]['zh']}" in done.output for name in STATUSES)
    assert "有特征泄露标签吗？" in done.output
    assert ("有问题: 问题" in done.output) == (status == "issue")  # what was found stands behind what was asked
    english = CliRunner().invoke(userops.app, ["check", "churn", "--version", "1"])
    assert all(f" {name}" in english.output for name in STATUSES)
    assert "P001 Does a feature know the label?" in english.output
    assert "churn 1: " in english.output
    assert '"code": "P001"' in file.read_text()


def test_every_check_asks_a_question_in_both_languages():
    assert set(QUESTIONS) == {check.code for check in CHECKS}
    assert all(one["en"].endswith("?") and one["zh"].endswith("？") for one in QUESTIONS.values())
    assert (set(STATUS), set(SEVERITY)) == (set(STATUSES), set(SEVERITIES))
