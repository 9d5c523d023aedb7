"""Several pages in one document: which ones, in which languages, whose names are told, what cannot be shown."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import typer
from typer.testing import CliRunner

import configs
from configs.errors import UseropsError
from serving.console.desk import Desk
from serving.console.pdf import browser
from serving.console.report import opened, report, version_of
from serving.console.words import words
from serving.verbs_report import reporting

HEADS = ("p_inactive_14d", "p_inactive_30d", "p_inactive_60d")


@pytest.fixture(scope="module")
def live(console):
    with opened(configs.load(console.home)) as live:
        yield live


def test_a_report_joins_card_heads_comparison_and_audit_trail(live, seen, hostile):
    page = seen(report(live, "churn", "4"))
    assert len(page.all("h1")) == 1
    joined = [one for one in page.all("section") if one.get("class") == "joined"]
    assert [one["id"] for one in joined] == [*(f"en{place}" for place in range(1, 8)), "en-audit"]
    ids = [one["id"] for _, one in page.tags if "id" in one]
    assert len(ids) == len(set(ids))
    assert {href for href in page.hrefs() if href.startswith("#")} <= {f"#{one}" for one in ids}
    assert not page.all("form")
    assert hostile in page.words  # asked a question about this version: as text
    assert "row" in page.words.lower()
    names = {one.partition("-")[0] for one in page.charts() if one != "packed"}
    assert {f"en{place}" for place in range(1, 8)} <= names


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_head_has_its_quality_its_parts_and_its_comparison(live, console, seen, desk_files, lang):
    file = Desk(console.home).read("churn", "4", "versus-3.json")
    every = {**file, "heads": dict.fromkeys(HEADS, file["heads"][HEADS[1]])}
    desk_files.write(console.home, "4", {"versus-3.json": every})
    try:
        page = seen(report(live, "churn", "4", (lang,)))
    finally:
        desk_files.write(console.home, "4", {"versus-3.json": file})
    meanings = [words(lang).of(one["meaning"]) for one in desk_files.card("4", "")["heads"].values()]
    ids = {one["id"] for _, one in page.tags if "id" in one}
    assert {f"{lang}{place}-{name}" for place in (1, 2, 3) for name in ("how-good", "segments")} <= ids
    assert f"{lang}2-lineage" not in ids
    assert {f"{lang}{place}-measured" for place in (7, 8, 9)} <= ids
    for meaning in meanings:
        assert f"{words(lang)('card.how_good')}: {meaning}" in page.words
    titles = [f"{words(lang)('compare.title', model='churn', first='3', second='4')}: {one}" for one in meanings]
    assert all(title in page.words for title in titles)


def test_both_languages_stand_one_after_the_other(live, seen):
    page = seen(report(live, "churn", "4", ("en", "zh")))
    parts = [one for one in page.all("div") if one.get("class") == "report"]
    assert [one["lang"] for one in parts] == ["en", "zh-CN"]
    assert "意见与操作记录" in page.words
    assert "What was said and done" in page.words
    assert len(report(live, "churn", "4")) < 3_000_000


def test_names_of_users_go_through_who_may_tell_them(live):
    told = report(live, "churn", "4", told=lambda one: {**one, "heads": {}} if "first" in one else one)
    assert "u1" in report(live, "churn", "4", page="compare")
    assert 'id="en7"' in told


def test_the_version_is_the_one_in_force_unless_another_is_named(live):
    assert version_of(live, "churn", None) == "3"
    assert version_of(live, "churn", "4") == "4"
    with pytest.raises(UseropsError, match="no model"):
        version_of(live, "nothing", None)


def test_a_role_stands_for_its_version(live):
    assert version_of(live, "churn", "champion") == "3"
    assert version_of(live, "churn", "challenger") == "4"
    with pytest.raises(UseropsError, match="no version best") as refused:
        version_of(live, "churn", "best")
    assert "champion" in str(refused.value)


@pytest.fixture
def verb(console, tmp_path, monkeypatch):
    """``userops report churn ...`` in an empty folder over a copy of the home; what it let write again."""
    home = tmp_path / "home"
    shutil.copytree(console.home, home)
    monkeypatch.setenv("USEROPS_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    again = []
    app = typer.Typer()
    app.command()(reporting(lambda config, model, version: again.append(version)))

    def asked(*words):
        again.clear()
        done = CliRunner().invoke(app, ["churn", *words])
        return done, list(again)

    return asked


def test_the_command_that_pages_name_needs_nothing_more(verb, tmp_path):
    done, again = verb("--version", "3")
    assert (done.exit_code, again) == (0, []), done.output
    by_number = (tmp_path / "report-churn-3.html").read_text(encoding="utf-8")
    assert "reads well" in by_number
    done, _ = verb("--version", "champion", "--out", "champion.html")
    assert done.exit_code == 0, done.output
    assert "reads well" in (tmp_path / "champion.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["champion.html", "report-churn-3.html"]


@pytest.mark.parametrize("name", ["card.json", f"learned/{HEADS[1]}.json"])
@pytest.mark.parametrize("content", [None, "", '{"half": ', "[]"])
def test_what_is_missing_or_broken_is_written_again(verb, tmp_path, name, content):
    file = tmp_path / "home" / "desk" / "churn" / "3" / name
    whole = file.read_text(encoding="utf-8")
    file.unlink() if content is None else file.write_text(content, encoding="utf-8")
    _, again = verb("--version", "3")
    assert again == ["3"]
    file.write_text(whole, encoding="utf-8")
    done, again = verb("--version", "3")
    assert (done.exit_code, again) == (0, []), done.output


@pytest.mark.parametrize(("page", "said"), [("user", "which user"), ("decision", "which decision"), ("no", "no page")])
def test_a_page_that_is_not_fully_named_is_refused(live, page, said):
    with pytest.raises(UseropsError, match=said):
        report(live, "churn", "3", page=page)


def test_what_cannot_be_shown_says_why(live):
    with pytest.raises(UseropsError, match="cannot be shown"):
        report(live, "churn", "99")


def test_a_page_that_cannot_be_drawn_is_an_error_in_words_and_leaves_no_file(verb, tmp_path):
    file = tmp_path / "home" / "desk" / "churn" / "3" / "card.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"log_loss": {', '"log_loss": 3, "was": {'), "utf-8")
    with (
        opened(configs.load(tmp_path / "home")) as live,
        pytest.raises(UseropsError, match="cannot be shown") as refused,
    ):
        report(live, "churn", "3")
    assert "Error" in str(refused.value)
    done, _ = verb("--version", "3", "--out", "x.html")
    assert done.exit_code != 0
    assert not [path.name for path in tmp_path.iterdir() if "x.html" in path.name]


def test_a_failed_report_leaves_the_file_that_was_there(verb, tmp_path):
    there = tmp_path / "there.html"
    there.write_text("older", encoding="utf-8")
    for name in ("there.html", "new.html"):
        done, _ = verb("--version", "99", "--out", name)
        assert done.exit_code != 0
    assert there.read_text(encoding="utf-8") == "older"
    assert sorted(path.name for path in tmp_path.iterdir() if ".html" in path.name) == ["there.html"]


def test_without_a_browser_a_pdf_names_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UseropsError, match="chromium") as refused:
        browser()
    assert "apt-get install chromium" in str(refused.value)


def test_a_home_without_release_has_reports_too(console, tmp_path, desk_files):
    config = dataclasses.replace(configs.load(tmp_path), now=None)
    desk_files.write(tmp_path, "3", {"card.json": desk_files.card("3", "sha256:3")})
    with opened(config) as live:
        assert version_of(live, "churn", None) == "3"
        assert "churn" in report(live, "churn", "3")
