"""Exports and reports opened as files: everything drawn, nothing asked for, nothing to be said in the console."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest


def opened(window, file):
    visit = window("en")
    visit.page.goto(file.as_uri())
    if visit.page.locator("[data-figure]").count():
        visit.page.locator("html[data-drawn-all]").wait_for(state="attached")
    assert visit.asked == [file.as_uri()]
    visit.asked.clear()
    return visit.page


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", ["card-churn", "learned-churn", "compare", "user-churn", "decision"])
def test_an_exported_page_needs_nothing_else(window, desk, tmp_path, name, lang):
    visit = window(lang)
    path = desk.paths()[name]
    visit.open(path)
    charts, heading = visit.page.locator("[data-figure]").count(), visit.page.locator("h1").inner_text()
    with visit.page.expect_download() as started:
        visit.page.locator("footer a[download]").click()
    file = tmp_path / "page.html"
    started.value.save_as(file)
    assert file.stat().st_size < 3_000_000
    page = opened(window, file)
    assert page.locator("h1").inner_text() == heading
    assert page.locator("[data-figure]").count() == charts
    assert page.locator("[data-figure] svg.main-svg").count() >= charts or not charts
    assert page.locator("form, button[name=lang], a[href^='/']").count() == 0


def test_a_report_is_one_document(window, desk, tmp_path):
    file = tmp_path / "report.html"
    desk.run("report", "churn", "--version", "2", "--out", str(file))
    page = opened(window, file)
    assert page.locator("h1").count() == 1
    assert page.locator("section.joined").count() >= 5  # card, three heads, comparison, audit trail
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    for link in page.locator(".contents a").all():
        assert page.locator(str(link.get_attribute("href"))).count() == 1
    assert page.locator("[data-figure] svg.main-svg").count() >= 8


def test_a_report_is_printed(desk, tmp_path, chromium):
    file = tmp_path / "report.pdf"
    desk.run("report", "churn", "--version", "2", "--lang", "zh", "--out", str(file))
    content = file.read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 4
    if program := shutil.which("pdftotext"):
        text = subprocess.run([program, str(file), "-"], capture_output=True, text=True, check=True).stdout
        assert "churn 第 2 版报告" in text


def test_a_page_prints_from_the_browser(window, desk, tmp_path):
    visit = window("en")
    visit.open(desk.paths()["card-churn"])
    content = visit.page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 2
