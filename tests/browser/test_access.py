"""What a screen reader and a keyboard need, on every page: landmarks, names, one heading, visible focus, tables."""

from __future__ import annotations

import pytest

NAMES = ("models", "card-churn", "learned-churn", "compare", "users", "user-churn", "decisions", "decision")
LOOK = """
() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const named = (one) => (one.getAttribute("aria-label") ?? "").trim() || (one.textContent ?? "").trim()
    || [...(one.labels ?? [])].some((label) => label.textContent.trim()) || one.getAttribute("aria-labelledby");
  const levels = all("h1, h2, h3, h4").map((one) => Number(one.tagName[1]));
  const ids = all("[id]").map((one) => one.id);
  return {
    h1: all("h1").length,
    skipped: levels.filter((level, place) => place && level > levels[place - 1] + 1).length,
    landmarks: ["header", "nav", "main", "footer"].map((name) => all(name).length),
    unnamed: all("a, button, input:not([type=hidden]), select, textarea, [role=img]").filter((one) => !named(one))
      .map((one) => one.outerHTML.slice(0, 120)),
    untold: all("[data-figure]").filter((one) => !one.closest("figure").querySelector("table")
      && !one.closest("section")?.querySelector("table")).map((one) => one.dataset.figure),
    headless: all("table").filter((one) => !one.querySelector("th")).map((one) => one.outerHTML.slice(0, 120)),
    twice: ids.filter((id, place) => ids.indexOf(id) !== place),
    pictures: all("img:not([alt])").length,
  };
}
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_page_can_be_read_without_seeing_it(window, desk, name):
    visit = window("zh")
    visit.open(desk.paths()[name])
    found = visit.page.evaluate(LOOK)
    assert found["h1"] == 1
    assert found["skipped"] == 0
    assert all(count >= 1 for count in found["landmarks"])
    assert found["landmarks"][2] == 1
    assert found["unnamed"] == []
    assert found["untold"] == []
    assert found["headless"] == []
    assert found["twice"] == []
    assert found["pictures"] == 0


def test_the_first_tab_skips_the_navigation(window, desk):
    visit = window("en")
    visit.open(desk.paths()["card-churn"])
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.getAttribute('href')") == "#content"
    visit.page.keyboard.press("Enter")
    assert visit.page.evaluate("document.activeElement.id") == "content"
