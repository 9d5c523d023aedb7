"""Each page opens in both languages, draws its charts, says nothing in the console and asks nobody else."""

from __future__ import annotations

import pytest

NAMES = ("models", "card-churn", "card-interest", "card-repurchase", "card-value", "challenger", "compare", "users",
         "learned-churn", "learned-interest", "learned-repurchase", "learned-value", "user-churn",
         "user-repurchase", "user-value", "decisions", "decision", "replay")  # fmt: skip
CHARTED = ("card", "learned", "compare", "user-")

# How many marks a chart shows, and how many its JSON asks for; of hidden traces, and those that are lines, none.
MARKS = """
(places) => places.map((place) => {
  const asked = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  const shown = asked.data.filter((trace) => trace.visible === undefined || trace.visible === true);
  const full = (values) => Array.from(values ?? []).filter((value) => value !== null && value === value).length;
  const wanted = {bars: 0, points: 0, lines: 0, canvas: 0};
  for (const trace of shown) {
    const kind = trace.type ?? "scatter", mode = trace.mode ?? "lines";
    if (kind === "bar" || kind === "waterfall")
      wanted.bars += full(trace.orientation === "h" ? trace.x : trace.y);
    else if (kind === "scatter" && mode.includes("markers")) wanted.points += full(trace.y);
    else if (kind === "scatter" && mode.includes("lines")) wanted.lines += full(trace.y) > 0 ? 1 : 0;
    else wanted.canvas += 1;
  }
  const seen = (selector) => [...place.querySelectorAll(selector)];
  return {
    name: place.dataset.figure,
    wanted,
    seen: {
      svg: seen("svg.main-svg").length,
      bars: seen(".barlayer .point path, .waterfalllayer .point path").length,
      points: seen(".scatterlayer .points path").length,
      lines: seen(".scatterlayer path.js-line").filter((line) => line.getAttribute("d")).length,
      other: seen("canvas, .heatmaplayer image, .boxlayer path, .violinlayer path").length,
    },
  };
})
"""


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_each_page_opens_and_draws_its_charts(window, desk, name, lang):
    visit = window(lang)
    visit.open(desk.paths()[name])
    assert visit.page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[lang]
    # What is folded away is drawn when it is unfolded.
    visit.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    charts = visit.page.locator("[data-figure]").evaluate_all(MARKS)
    assert charts or not name.startswith(CHARTED)
    for chart in charts:
        wanted, seen = chart["wanted"], chart["seen"]
        assert seen["svg"] > 0, chart
        assert seen["bars"] >= wanted["bars"], chart
        assert seen["points"] >= wanted["points"], chart
        assert seen["lines"] >= wanted["lines"], chart
        assert seen["other"] >= wanted["canvas"], chart


@pytest.mark.parametrize("name", NAMES)
def test_on_a_phone_nothing_sticks_out(window, desk, name):
    visit = window("zh", width=360, height=740, device_scale_factor=2, is_mobile=True, has_touch=True)
    visit.open(desk.paths()[name])
    width = visit.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= 360, width
    assert width[1] <= 360, width


def test_the_language_is_switched_and_remembered(window, desk):
    visit = window("en")
    visit.open("/console/models")
    english = visit.page.locator("main").inner_text()
    visit.page.get_by_role("button", name="中文").click()
    visit.drawn()
    assert visit.page.url == f"{desk.url}/console/models"
    assert visit.page.locator("html").get_attribute("lang") == "zh-CN"
    assert visit.page.locator("main").inner_text() != english
    visit.open(desk.paths()["card-churn"])
    assert visit.page.locator("html").get_attribute("lang") == "zh-CN"


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/console/models/nothing", 404),
        ("/console/models/churn/99", 404),
        ("/console/models/churn/99/learned", 404),
        ("/console/user?id=nobody-of-this-name", 404),
        ("/console/decision?id=d_00000000000000000000000000", 404),
        ("/console/user", 400),
        ("/console/nowhere", 404),
    ],
)
def test_what_is_not_there_is_said_on_a_page(window, path, status, lang):
    visit = window(lang)
    visit.expected = ("error: Failed to load resource",)
    answer = visit.open(path, status)
    assert answer.headers["content-type"].startswith("text/html")
    assert visit.page.locator("h1").count() == 1
    assert visit.page.locator("nav a").count() >= 3


def test_old_features_are_said_to_be_old(window, later):
    fresh, stale = window("en"), window("en", url=later.url)
    path = later.paths()["user-churn"]
    fresh.open(path)
    stale.open(path)
    told = stale.page.locator("main").inner_text().lower()
    assert "stale" in told or "old" in told
    assert fresh.page.locator("main").inner_text() != stale.page.locator("main").inner_text()
