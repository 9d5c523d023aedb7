"""The page of all models: champion beside challenger, who put it there, what was said of it and of which files."""

from __future__ import annotations

import json
import shutil

import configs
from configs.audit import Entry, append
from serving.console import models
from serving.console.asked import Asked
from serving.console.desk import Desk
from serving.console.report import opened
from serving.console.standing import standing
from serving.console.words import words
from training.checks.catalogue import CHECKS


def test_every_model_of_the_release_is_there(console):
    page = console.read("/models")
    for model in ("churn", "repurchase", "value", "interest"):
        assert f"/console/models/{model}" in page.hrefs()
    # Released without a card for reviewers: how to write one.
    assert "userops report repurchase --version 3" in page.words
    assert "userops train interest" in page.words


def test_champion_and_challenger_stand_side_by_side(console):
    page = console.read("/models/churn")
    assert "Champion: Version 3 in force" in page.words
    assert "Challenger: Version 4 waits" in page.words
    assert "Promoted by chen" in page.words
    links = page.hrefs()
    for path in ("3", "4", "3/learned", "4/learned", "4#sign", "compare?first=3&second=4"):
        assert f"/console/models/churn/{path}" in links


def test_the_measure_that_decides_stands_beside_the_best_baseline(console):
    page = console.read("/models/churn")
    assert "log loss (lower is better)" in page.words
    assert "0.4400 0.4200 – 0.4600 0.4630 RFM regression" in page.words
    assert "use the model: surely better than RFM regression" in page.words


def test_what_reviewers_said_and_of_which_files(console, hostile):
    page = console.read("/models/churn")
    assert "approved lin" in page.words
    assert "reads well" in page.words
    assert "about older files the older files" in page.words
    assert f"asked {hostile}" in page.words
    assert "<img src=x" not in page.html


def test_checks_are_counted_by_what_came_of_them(console):
    page = console.read("/models/churn")
    assert "2 passed" in page.words  # of the champion
    assert "1 blocking 1 to look at 1 passed 1 not asked" in page.words  # of the challenger
    assert page.words.count("6 not run: P002, P003, P006, P007, P009, P010") == 2


def test_every_outcome_of_a_check_is_counted_and_so_is_what_was_not_run(console, desk_files):
    came = ["passed"] * 6 + ["tip", "ignored", "not_applicable"]
    statuses = {f"P{k:03d}": status for k, status in enumerate(came, start=1)}
    path = console.home / "desk" / "churn" / "4" / "checks.json"
    before = path.read_bytes()
    told = json.loads(before)
    told["outcomes"] = [{**told["outcomes"][0], "code": code, "status": status} for code, status in statuses.items()]
    try:
        desk_files.write(console.home, "4", {"checks.json": told})
        page = console.read("/models/churn")
    finally:
        path.write_bytes(before)
    assert "6 passed 1 with a tip 1 accepted 1 not applicable 1 not run: P010" in page.words


def test_in_chinese(console):
    page = console.read("/models/churn", "zh")
    for said in (
        "现行版: 第 3 版 使用中",
        "候选版: 第 4 版 待定",
        "批准",
        "针对旧文件",
        "使用模型：确定优于",
        "1 项阻断",
    ):
        assert said in page.words


def test_an_audit_table_that_cannot_be_read_is_said(console, monkeypatch, tmp_path):
    broken = tmp_path / "audit.db"
    broken.write_bytes(b"no database" * 100)
    monkeypatch.setenv("USEROPS_AUDIT", f"sqlite:///{broken}")
    page = console.read("/models")
    assert "The audit table cannot be read now" in page.words
    assert str(tmp_path) not in page.html


def test_an_unknown_model_is_not_there(console, seen):
    answer = console.get("/models/nope", "zh")
    assert answer.status_code == 404
    assert "没有名为 nope 的模型" in seen(answer.text).words


def test_without_a_release_the_desk_can_still_be_read(bare, desk_files):
    desk_files.write(bare.home, "4", {"card.json": desk_files.card("4", "sha256:4")})
    page = bare.read("/models")
    assert "No release is in force" in page.words
    assert "Challenger: Version 4 waits" in page.words
    assert "not run yet: userops check churn --version 4" in page.words
    assert "No version of it speaks to customers." in page.words
    assert "choose whom to write to" in bare.read("/models/churn/4").words
    assert bare.get("/models/churn/champion").status_code == 404


def test_a_version_older_than_the_champion_waits_for_nothing(console, tmp_path, desk_files):
    home = tmp_path / "home"
    shutil.copytree(console.home, home)
    shutil.rmtree(home / "desk" / "churn" / "4")
    desk_files.write(home, "2", {"card.json": {**desk_files.card("3", "sha256:2"), "version": "2"}})
    with opened(configs.load(home)) as live:
        found = standing(Asked(live, Desk(home), words("en"), "/console", {}, {}), "churn")
        assert found.champion is not None
        assert (found.champion.number, found.challenger, found.numbers) == ("3", None, ["3", "2"])
        shutil.copytree(home / "desk" / "churn" / "2", home / "desk" / "churn" / "10")
        found = standing(Asked(live, Desk(home), words("en"), "/console", {}, {}), "churn")
        assert found.challenger is not None
        assert found.challenger.number == "10"


def test_every_check_that_training_has_is_counted():
    assert [check.code for check in CHECKS] == models.CHECKS


# The last one: it rolls version 4 back for good.
def test_promoted_but_not_released_is_said(console):
    config = configs.load(console.home)
    before = console.read("/models/churn").words
    append(config.audit_uri, Entry("wu", "promoted", "churn", "4", "run4", "", {"before": "3"}))
    try:
        page = console.read("/models/churn")
        assert "Version 4 is promoted (wu" in page.words
        assert "userops release" in page.words
        assert "Champion: Version 3 in force" in page.words
        assert "promoted, not released" in console.read("/models/churn/4").words
    finally:
        append(config.audit_uri, Entry("wu", "rolled_back", "churn", "3", "run3", "", {"before": "4"}))
    after = console.read("/models/churn").words
    assert "is promoted (wu" not in after
    assert after.count("Promoted by") >= before.count("Promoted by")
    # It had its turn: nobody is told that it waits, and it can still be read.
    assert "Version 4 waits" not in after
    assert "Challenger: Version 4" in before
    assert console.get("/models/churn/4").status_code == 200
    assert console.get("/models/churn/challenger").status_code == 404
