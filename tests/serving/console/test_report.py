"""Several pages in one document: which ones, in which languages, whose names are told, what cannot be shown."""

from __future__ import annotations

import dataclasses

import pytest

import configs
from configs.errors import UseropsError
from serving.console.pdf import browser
from serving.console.report import opened, report, version_of

HEADS = ("p_inactive_14d", "p_inactive_30d", "p_inactive_60d")


@pytest.fixture(scope="module")
def live(console):
    with opened(configs.load(console.home)) as live:
        yield live


def test_a_report_joins_card_heads_comparison_and_audit_trail(live, seen, hostile):
    page = seen(report(live, "churn", "4"))
    assert len(page.all("h1")) == 1
    joined = [one for one in page.all("section") if one.get("class") == "joined"]
    assert [one["id"] for one in joined] == ["en1", "en2", "en3", "en4", "en5", "en-audit"]
    ids = [one["id"] for _, one in page.tags if "id" in one]
    assert len(ids) == len(set(ids))
    assert {href for href in page.hrefs() if href.startswith("#")} <= {f"#{one}" for one in ids}
    assert not page.all("form")
    assert hostile in page.words  # asked a question about this version: as text
    assert "row" in page.words.lower()
    names = {one.partition("-")[0] for one in page.charts() if one != "packed"}
    assert {"en1", "en2", "en3", "en4", "en5"} <= names


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
    assert 'id="en5"' in told


def test_the_version_is_the_one_in_force_unless_another_is_named(live):
    assert version_of(live, "churn", None) == "3"
    assert version_of(live, "churn", "4") == "4"
    with pytest.raises(UseropsError, match="no model"):
        version_of(live, "nothing", None)


@pytest.mark.parametrize(("page", "said"), [("user", "which user"), ("decision", "which decision"), ("no", "no page")])
def test_a_page_that_is_not_fully_named_is_refused(live, page, said):
    with pytest.raises(UseropsError, match=said):
        report(live, "churn", "3", page=page)


def test_what_cannot_be_shown_says_why(live):
    with pytest.raises(UseropsError, match="cannot be shown"):
        report(live, "churn", "99")


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
