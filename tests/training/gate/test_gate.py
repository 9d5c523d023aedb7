"""The gate refuses each planted fault, names all of them at once, and lets through what has none."""

import dataclasses
import json
import sqlite3
from types import SimpleNamespace

import pytest

from configs.account import account
from configs.audit import Entry, append, entries, verify
from configs.errors import GateError, TrainingError
from configs.keys import Keys
from features.periods import as_utc
from serving.console import sign as console_sign
from serving.console.asked import Asked
from serving.console.desk import Desk
from serving.console.words import words
from training.aliases import aliases_of, move
from training.checks import BLOCKERS
from training.checks.catalogue import CHECKS
from training.checks.outcome import Found
from training.checks.run import seal_of
from training.compare.comparison import Comparison
from training.compare.paired import Pair
from training.evaluate import Interval
from training.gate.files import FilesLook, HeadOfFiles
from training.gate.judge import judge_promotion
from training.gate.promote import promote
from training.gate.sign import model_digest, sign
from training.registry import CHAMPION, PREVIOUS, Registry

HEADS = ("p_inactive_14d", "p_inactive_30d")


@pytest.fixture(autouse=True)
def files(monkeypatch):
    """What the version's own files say of the judged origin: what its recipe said, unless a test says otherwise."""
    said = {head: _same() for head in HEADS}

    def look(config, model, side):
        if "error" in said:
            raise TrainingError(said["error"])
        return FilesLook("2026-03-02T00:00:00+00:00", "files beside recipe", said, []) if said else None

    monkeypatch.setattr("training.gate.files.look_at_files", look)
    return said


def _same(*faults):
    return HeadOfFiles(100, 0.4, 0.41, 0.43, 0.3, 0.31, 0.3, 0.99, faults)


@pytest.fixture
def outcomes(monkeypatch):
    """What the checks say, by code; all passed unless a test says otherwise. One that is not there is run.

    ``stored`` changes what they were said of, ``asked`` collects what is run again.
    """
    said = Said({check.code: _outcome(check.code) for check in CHECKS})

    def run(config, model, version, progress=None, only=None):
        said.asked.append(list(only))
        said.update({code: _outcome(code) for code in only if code not in said})
        return [said[code] for code in only]

    def stored(config, model, version):
        registry = Registry(config)
        seal = seal_of(config, registry, registry.version(model, version))
        content = {**seal, "thorough": True, **said.stored}
        return {**content, "outcomes": [one.as_json() for one in said.values()]}

    monkeypatch.setattr("training.checks.run.content_hash", lambda config: "sha256:data")
    monkeypatch.setattr("training.gate.judge.stored_checks", stored)
    monkeypatch.setattr("training.gate.judge.run_checks", run)
    return said


class Said(dict):
    """Outcomes by code, what they were said of, and which were run again."""

    def __init__(self, outcomes):
        super().__init__(outcomes)
        self.stored, self.asked = {}, []


def _outcome(code, status="passed"):
    check = next(check for check in CHECKS if check.code == code)
    words = {"en": f"{code} was seen to be {status}", "zh": status}
    return check.outcome(Found(status, words, {}, severity="blocker" if code in BLOCKERS else None))


@pytest.fixture
def difference(monkeypatch):
    """By head: how much higher the log-loss of the challenger is, and what the comparison raises instead."""
    said = dict.fromkeys(HEADS, 0.0)

    def compare(config, model, first, second, progress, origins, in_brief):
        assert (origins, in_brief) == (said.get("origins", model.gate.origins), True)
        if "error" in said:
            raise TrainingError(said["error"])
        heads = {
            head: {"log_loss": _pair(value)} for head, value in said.items() if head in HEADS and value is not None
        }
        return Comparison("churn", "probability", {"version": first}, {"version": second}, [], 100, heads, list(HEADS))

    monkeypatch.setattr("training.gate.judge.compare", compare)
    return said


def _pair(value):
    return Pair(*(Interval(v, v - 0.01, v + 0.01) for v in (0.4, 0.4 + value, -value)))


@pytest.fixture
def judged(config, outcomes, difference):
    """Judges version 2 of churn against champion 1, under a changed gate."""
    move(config, {"churn": {CHAMPION: "1"}})

    def judge(version="2", **gate):
        model = config.models["churn"]
        model = dataclasses.replace(model, gate=dataclasses.replace(model.gate, **gate))
        return judge_promotion(config, model, version)

    return judge


def codes(verdict):
    return [reason.code for reason in verdict.reasons]


def test_without_a_fault_it_is_allowed_and_says_what_it_rests_on(judged):
    verdict = judged()
    assert verdict.allowed
    assert verdict.champion == "1"
    evidence = verdict.evidence
    assert evidence["metrics"]["p_inactive_14d.log_loss"] == 0.5
    assert evidence["checks"]["P010"]["status"] == "passed"
    assert evidence["comparison"]["heads"]["p_inactive_30d"]["log_loss"]["better"]["value"] == 0.0
    assert evidence["rule"].startswith("not proven worse suffices: log_loss worse by at most 0.002, and")
    assert evidence["data_hash"] == "sha256:data"
    assert evidence["trained_by"] == "lin"
    assert json.loads(json.dumps(verdict.as_json()))["allowed"] is True


def test_a_missing_metric(judged):
    verdict = judged(required=["log_loss", "lift@10"])
    assert codes(verdict) == ["metric", "metric"]
    assert verdict.reasons[0].what["en"] == "metric p_inactive_14d.lift_at_10 is missing"
    assert "缺少指标" in verdict.reasons[0].what["zh"]


@pytest.mark.parametrize("code", BLOCKERS)
def test_a_blocking_check(judged, outcomes, code):
    outcomes[code] = _outcome(code, "issue")
    assert codes(judged()) == ["parity" if code == "P010" else "check"]


STALE = {"data_hash": "sha256:older", "catalogue_digest": "c", "model_json": "sha256:other files", "thorough": False}


@pytest.mark.parametrize("part", STALE)
def test_what_was_said_of_other_data_features_or_files_is_asked_again(judged, outcomes, part):
    assert judged().allowed
    outcomes.stored[part] = STALE[part]
    assert judged().allowed
    assert outcomes.asked == [["P010"], list(BLOCKERS)]  # parity always: what is published may have changed


def test_a_first_champion_needs_no_thorough_look(judged, outcomes, config):
    outcomes.stored["thorough"] = False
    assert judge_promotion(_without_champion(config), config.models["churn"], "2").allowed
    assert outcomes.asked == [["P010"]]


def test_a_finding_that_is_accepted(judged, outcomes, config):
    outcomes["P001"] = _outcome("P001", "ignored")
    (reason,) = judged().reasons
    assert reason.what["en"] == "check P001 was ignored, and its finding is not accepted any more"
    accepting = dataclasses.replace(config.models["churn"], ignored_checks={"P001": "known"})
    assert judge_promotion(config, accepting, "2").allowed


def test_only_a_first_champion_is_excused_from_several_origins(judged, outcomes, config):
    outcomes["P008"] = _outcome("P008", "skipped")
    assert [reason.what["en"] for reason in judged().reasons] == ["check P008 could not be run"]
    first = judge_promotion(_without_champion(config), config.models["churn"], "2")
    assert first.allowed
    assert first.evidence["accepted"].startswith("P008 skipped")


def _without_champion(config):
    with sqlite3.connect(config.home / "mlflow.db") as connection:
        connection.execute("DELETE FROM registered_model_aliases WHERE alias = 'champion'")
    connection.close()
    return config


def test_a_blocking_check_that_could_not_be_run_is_no_passed_one(judged, outcomes):
    outcomes["P001"] = _outcome("P001", "skipped")
    (reason,) = judged().reasons
    assert reason.what["en"] == "check P001 could not be run"
    outcomes["P001"] = _outcome("P001", "not_applicable")
    assert judged().allowed


def test_a_check_that_was_never_run_is_run(judged, outcomes):
    del outcomes["P001"]
    assert judged().allowed
    assert outcomes["P001"].status == "passed"


def test_a_warning_does_not_block(judged, outcomes):
    warning = next(check.code for check in CHECKS if check.code not in BLOCKERS)
    outcomes[warning] = _outcome(warning, "issue")
    verdict = judged()
    assert verdict.allowed
    assert verdict.evidence["checks"][warning]["status"] == "issue"


def test_a_worse_paired_difference(judged, difference):
    difference["p_inactive_30d"] = 0.0019
    assert judged().allowed
    difference["p_inactive_30d"] = 0.0021
    (reason,) = judged().reasons
    assert reason.code == "comparison"
    assert reason.what["en"] == "p_inactive_30d: log_loss is worse than the champion's beyond the margin"
    assert (reason.got, reason.expected) == ("worse by 0.0021 [-0.0079, 0.0121]", "at most 0.002")
    assert judged(margin=0.01).allowed


def test_surely_worse_by_more_than_half_the_margin(judged, difference):
    difference["p_inactive_30d"] = 0.0215  # the interval begins at 0.0115
    assert judged(margin=0.022).reasons[0].what["en"] == (
        "p_inactive_30d: log_loss is surely worse than the champion's, by more than half the margin"
    )
    difference["p_inactive_30d"] = 0.0205  # within the margin and not proven
    assert judged(margin=0.022).allowed


@pytest.mark.parametrize(
    ("fault", "said"),
    [("loss", "have a higher loss than"), ("mean", "are further from what"), ("order", "order users unlike")],
)
def test_files_that_do_not_say_what_their_recipe_said(judged, files, fault, said):
    files["p_inactive_30d"] = _same(fault)
    verdict = judged()
    (reason,) = verdict.reasons
    assert reason.code == "files"
    assert f"p_inactive_30d: its own files {said}" in reason.what["en"]
    assert verdict.evidence["files"]["heads"]["p_inactive_30d"]["faults"] == (fault,)
    assert verdict.evidence["files"]["origin"].startswith("2026-03-02")


def test_files_that_cannot_be_asked(judged, files):
    files["error"] = "too short"
    assert codes(judged()) == ["files"]
    files.clear()
    verdict = judged()
    assert verdict.allowed
    assert verdict.evidence["files"].startswith("not applicable")


@pytest.mark.parametrize(
    "planted", [{"p_inactive_30d": None}, {"p_inactive_30d": float("nan")}, {"error": "too short"}]
)
def test_a_comparison_that_is_missing(judged, difference, planted):
    difference.update(planted)
    assert codes(judged()) == ["comparison"]


def test_a_metric_that_decides_but_was_not_compared(judged):
    assert codes(judged(decides="auroc")) == ["comparison", "comparison"]


def test_no_approval_when_the_policy_demands_one(judged, config, monkeypatch):
    (reason,) = judged(approval="reviewer").reasons
    assert (reason.code, reason.got) == ("approval", "nobody approved it")
    assert reason.expected == "an approval by a reviewer, of these files"
    assert reason.run == "userops sign churn 2 --approve"
    sign(config, "churn", "2", "approved", "")
    assert judged(approval="reviewer").allowed
    assert judged(approval="other_than_trainer").allowed
    assert codes(judged("3", approval="reviewer")) == ["approval"]


def test_an_approval_by_the_trainer_when_four_eyes_are_demanded(judged, config, monkeypatch):
    monkeypatch.setenv("USEROPS_USER", "lin")
    sign(config, "churn", "2", "approved", "mine")
    assert judged(approval="reviewer").allowed
    (reason,) = judged(approval="other_than_trainer").reasons
    assert reason.got == "approved only by lin, who trained it"


def test_a_key_that_the_trainers_account_issued_approves_nothing_under_four_eyes(judged, config, monkeypatch):
    """The whole way: a key, the form of the console, the row, the gate; then a key that another account issued."""
    _change_meta(config, "2", trained_by_account="trainer")
    registry = Registry(config)
    digest = model_digest(registry, registry.version("churn", "2"))
    about = {"model": "churn", "version": "2", "run_id": "r", "model_json": digest, "trained_by": "lin"}
    path = config.home / "desk" / "churn" / "2" / "card.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**about, "trained_by_account": "trainer"}))
    keys = Keys(config.home / "keys.json")

    def post(issued_by, name):
        monkeypatch.setattr("configs.keys.account", lambda: issued_by)
        given = {"word": "approved", "comment": "", "model_json": digest, "key": keys.add(name, ["sign"])[1]}
        parts, live = {"model": "churn", "version": "2"}, SimpleNamespace(config=config)
        return console_sign.post(Asked(live, Desk(config.home), words("en"), "", given, parts))

    assert post("trainer", "wu").status_code == 303
    assert judged(approval="reviewer").allowed
    (reason,) = judged(approval="other_than_trainer").reasons
    assert reason.got == "approved only by wu, under trainer, the account that trained it"
    assert post("reviewers", "lin").status_code == 303  # another account, but the trainer's own name
    assert codes(judged(approval="other_than_trainer")) == ["approval"]
    assert post("reviewers", "mei").status_code == 303
    assert judged(approval="other_than_trainer").allowed
    promote(config, ["churn"], "2")
    assert registry.version("churn", "2").tags["review.by"] == "mei"  # mirrored on the way


def _change_meta(config, version, **changes):
    path = _files(config, version) / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("approval", ["none", "reviewer", "other_than_trainer"])
def test_a_rejection_counts_under_every_policy_until_it_is_taken_back(judged, config, approval):
    sign(config, "churn", "2", "rejected", "no")
    (reason,) = judged(approval=approval).reasons
    expected = f"a version that nobody rejects, or approval by wu under {account()}"
    assert (reason.got, reason.expected) == ("rejected by wu: no", expected)
    sign(config, "churn", "2", "asked", "why?")  # that takes nothing back
    assert codes(judged(approval=approval)) == ["approval"]
    sign(config, "churn", "2", "approved", "")
    assert judged(approval=approval).allowed
    sign(config, "churn", "2", "asked", "why?")
    verdict = judged(approval=approval)
    assert verdict.allowed
    assert [(one["who"], one["word"]) for one in verdict.evidence["reviews"]] == [("wu", "approved"), ("wu", "asked")]


def test_files_that_changed_after_the_approval(judged, config):
    sign(config, "churn", "2", "approved", "")
    path = _files(config, "2") / "model.json"
    path.write_text(path.read_text().replace("sha256:data", "sha256:date"))
    (reason,) = judged(approval="reviewer").reasons
    assert reason.got == "approved by wu before its files were changed"


def _files(config, version):
    run_id = Registry(config).version("churn", version).run_id
    (found,) = config.home.glob(f"mlartifacts/churn/{run_id}/artifacts/model")
    return found


def test_parity_broken_by_another_catalogue(judged, monkeypatch):
    monkeypatch.setattr("training.gate.judge.digest", lambda: "sha256:another")
    assert codes(judged()) == ["parity"]


@pytest.mark.parametrize("fault", ["altered", "gone", "another version's"])
def test_files_that_are_not_what_was_trained(judged, config, fault):
    files = _files(config, "2")
    if fault == "altered":
        (files / "inactive.txt").write_text("tree\n")
    elif fault == "gone":
        (files / "model.json").unlink()
    else:
        (files / "model.json").write_bytes((_files(config, "3") / "model.json").read_bytes())
    assert set(codes(judged())) == {"artefact"}


def test_a_tampered_audit_row(judged, config):
    sign(config, "churn", "2", "rejected", "no")
    append(config.audit_uri, Entry("wu", "asked", "churn", "3"))
    with sqlite3.connect(config.home / "audit.db") as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET action = 'approved' WHERE seq = 1")
    connection.close()
    assert codes(judged(approval="reviewer")) == ["audit"]


def test_a_review_cut_off_the_end_of_the_table_is_missed_by_its_tag(judged, config):
    sign(config, "churn", "2", "rejected", "no")
    with sqlite3.connect(config.home / "audit.db") as connection:
        connection.execute("DROP TRIGGER audit_no_delete")
        connection.execute("DELETE FROM audit")
    connection.close()
    assert verify(config.audit_uri) == 0
    (reason,) = judged().reasons
    assert reason.what["en"] == "the review that the version's tags name is not in the audit table"


def _change(config, version, change):
    path = _files(config, version) / "model.json"
    meta = json.loads(path.read_text())
    change(meta["heads"])
    path.write_text(json.dumps(meta))


@pytest.mark.parametrize("tags", [{"heads": ""}, {"heads": " ".join(HEADS)}])
def test_a_head_that_customers_would_lose(judged, config, tags):
    """Whatever the tags of the champion say, or do not say: its files are what answers."""
    Registry(config).set_version_tags("churn", "1", tags)
    _change(config, "2", lambda heads: heads.pop("p_inactive_30d"))
    (reason,) = judged().reasons
    assert reason.what["en"] == "it does not answer p_inactive_30d, which the champion does"


def test_a_head_that_is_served_before_it_can_be_judged(config, judged, difference, another):
    """Exactly that head is excused, and named; a head that the champion was judged on is not."""
    metrics = {f"{HEADS[0]}.{name}": 0.5 for name in ("log_loss", "auroc")}
    version = another(metrics)
    assert codes(judged(version)) == ["metric", "metric"]
    _change(config, version, lambda heads: heads[HEADS[1]].update(judged=False))
    difference[HEADS[1]] = None
    verdict = judged(version)
    assert verdict.evidence["heads"] == {"served": list(HEADS), "not_judged_yet": [HEADS[1]]}
    assert [reason.what["en"] for reason in verdict.reasons] == [f"{HEADS[1]}: no paired log_loss"]
    _change(config, "1", lambda heads: heads[HEADS[1]].update(judged=False))
    assert judged(version).allowed
    _change(config, version, lambda heads: heads[HEADS[0]].update(judged=False))
    assert judged(version).reasons[0].what["en"] == "no head was judged"


def test_all_faults_are_named_at_once_and_nothing_moves(judged, config, outcomes, difference):
    outcomes["P002"] = _outcome("P002", "issue")
    difference["p_inactive_14d"] = 0.5
    sign(config, "churn", "2", "rejected", "not yet")
    before = len(entries(config.audit_uri))
    with pytest.raises(GateError) as refused:
        promote(config, ["churn"], "2")
    said = str(refused.value)
    assert "the gate refuses churn version 2; nothing was promoted" in said
    for part in (
        "P002",
        "p_inactive_14d: log_loss is worse",
        f"wu rejects it, until they approve it under {account()}: not yet",
    ):
        assert part in said
    assert aliases_of(config, ["churn"])["churn"][CHAMPION] == "1"
    assert len(entries(config.audit_uri)) == before


def test_a_promotion_is_recorded_with_its_evidence_and_in_mlflow(judged, config):
    (moved,) = promote(config, ["churn"], "2", comment="spring")
    assert (moved.version, moved.before) == ("2", "1")
    assert aliases_of(config, ["churn"])["churn"] == {"challenger": "3", CHAMPION: "2", PREVIOUS: "1"}
    row = entries(config.audit_uri)[-1]
    assert (row.action, row.who, row.comment) == ("promoted", "wu", "spring")
    assert row.evidence["metrics"]["p_inactive_30d.auroc"] == 0.5
    assert set(row.evidence["checks"]) == {check.code for check in CHECKS}
    registry = Registry(config)
    version = registry.version("churn", CHAMPION)
    assert version.tags["promoted.by"] == "wu"
    assert registry.read_json(version.run_id, "promotion.json")["evidence"]["data_hash"] == "sha256:data"
    # Again: nothing happens, and nothing is recorded.
    (again,) = promote(config, ["churn"], "2")
    assert again.row is None
    assert entries(config.audit_uri)[-1] == row


def test_the_first_champion_says_so(config, outcomes, difference):
    (moved,) = promote(config, ["churn"], "1")
    assert moved.before is None
    assert entries(config.audit_uri)[-1].evidence["comparison"].startswith("first champion")


def test_a_word_without_a_reason_is_refused(config):
    for word in ("rejected", "asked"):
        with pytest.raises(GateError, match=r"run: userops sign churn 2 --(reject|ask) --comment"):
            sign(config, "churn", "2", word, " ")
    with pytest.raises(GateError, match="no word of a reviewer") as told:
        sign(config, "churn", "2", "shrugged", "")
    assert told.value.run == "userops sign churn 2 --approve, --reject or --ask"
    row, _ = sign(config, "churn", "challenger", "asked", "why <b>so</b>?")
    tags = Registry(config).version("churn", "3").tags
    assert (tags["review"], tags["review.by"], tags["review.comment"]) == ("asked", "wu", "why <b>so</b>?")
    assert tags["review.audit"] == row.digest


def test_a_refusal_reads_well_in_both_languages(judged, config):
    sign(config, "churn", "2", "rejected", "amounts\nlook odd")
    with pytest.raises(GateError) as refused:
        promote(config, ["churn"], "2")
    assert str(refused.value).splitlines()[1] == (
        f"  - churn 2: wu rejects it, until they approve it under {account()}: amounts look odd;"
        " run: userops train churn"
    )
    with pytest.raises(GateError) as refused:
        promote(config, ["churn"], "2", lang="zh")
    assert str(refused.value).splitlines() == [
        "未能晋级：churn 第 2 版；没有任何改动",
        f"  - churn 2：wu 已否决，直到其以 {account()} 账户改为批准：amounts look odd；请运行：userops train churn",
    ]


def test_the_comparison_leaves_out_what_a_search_has_seen(judged, config, difference, monkeypatch):
    days = [as_utc(day) for day in ("2026-03-30", "2026-04-13", "2026-04-27")]
    monkeypatch.setattr("training.gate.judge.past_origins", lambda config, model, count: days[-count:])
    for until, left in (("2026-03-30", 3), ("2026-04-01", 2), ("2026-04-27", 1)):
        _change_meta(config, "2", training={"search": {"touched_until": f"{until}T00:00:00+00:00"}})
        difference["origins"] = left
        verdict = judged()
        assert verdict.allowed
        assert verdict.evidence.get("touched", {}).get("origins_left", 3) == left
    _change_meta(config, "2", training={"search": {"touched_until": "2026-05-31T00:00:00+00:00"}})
    (reason,) = judged().reasons
    assert reason.what["en"] == "the search of its parameters has seen every origin that the gate judges by"
    assert reason.got == "labels until 2026-05-31 used"
