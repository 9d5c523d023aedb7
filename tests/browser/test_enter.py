"""Coming in with a key, by keyboard, in both languages; and going out again."""

from __future__ import annotations

import pytest

# Chromium says so of every page with such a status.
REFUSED = ("error: Failed to load resource: the server responded with a status of 401",)


@pytest.fixture(scope="module")
def key(desk):
    """A key that may look."""
    return desk.run("keys", "add", "chen", "--scope", "read").stdout.strip()


@pytest.mark.parametrize(
    ("lang", "said", "leave"), [("en", "Your key", "chen: leave"), ("zh", "您的密钥", "chen：退出")]
)
def test_a_reviewer_comes_in_by_keyboard_and_leaves(window, desk, key, lang, said, leave):
    visit = window(lang, 360, inside=False)
    visit.expected = REFUSED
    path = desk.paths()["user-churn"]
    visit.open(path, status=401)
    assert visit.page.locator("label").inner_text().startswith(said)
    assert visit.page.evaluate("document.activeElement.name") == "key", "whoever comes here has come to type a key"
    assert (
        visit.page.evaluate("getComputedStyle(document.querySelector('button')).backgroundColor") == "rgb(31, 78, 121)"
    )
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.page.keyboard.insert_text("uo_000000000000_" + "A" * 43)
    visit.page.keyboard.press("Enter")
    visit.page.locator("[role=alert]").wait_for()
    assert visit.page.locator("input[name=key]").input_value() == ""
    visit.page.keyboard.insert_text(key)
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url(f"{desk.url}{path}")
    visit.drawn()
    assert visit.page.locator("h1").count() == 1
    assert not [one for one in visit.asked if key in one], "no address holds the key"
    assert visit.page.evaluate("document.cookie").find("userops_session") == -1, "no script sees the session"
    visit.page.get_by_role("button", name=leave).click()
    visit.page.locator("input[name=key]").wait_for()
    visit.open(path, status=401)


def come_back(visit, key):
    """Type a key at the door."""
    door = visit.page.locator("form[action='/console/enter'] input[name=key]")
    door.fill(key)
    door.press("Enter")
    visit.page.locator("#content").wait_for()
    visit.drawn()


def test_what_was_written_outlives_a_session_that_is_over(window, desk, key):
    visit = window("en")
    visit.expected = REFUSED
    visit.open("/console/models/churn/2")
    visit.page.locator("textarea[name=comment]").fill("half an hour of thought")
    visit.page.locator("input[name=word][value=asked]").check()
    visit.page.locator("#sign-key").fill(key)
    visit.context.clear_cookies()
    visit.page.locator("#sign button").click()
    come_back(visit, key)
    assert visit.page.locator("textarea[name=comment]").input_value() == "half an hour of thought"
    visit.open("/console/models/churn/2?signed=1")
    assert visit.page.locator("textarea[name=comment]").input_value() == "", "what was signed is not offered again"


def test_a_what_if_outlives_a_session_that_is_over(window, desk, key):
    visit = window("en")
    visit.expected = REFUSED
    visit.open(desk.paths()["user-churn"])
    # Whoever was never active is nobody whom this question is asked about: any other value may be missing.
    box = visit.page.locator("[data-absent]:not([data-absent=days_since_last_activity])").first
    name = box.get_attribute("name")
    box.check()
    form = visit.page.locator("#what-if-form")
    visit.page.locator("#what-if-form[data-answered]").wait_for()
    visit.page.locator("#whatif-curve .textpoint", has_text="asked: no value").wait_for(state="attached")
    told = visit.page.locator("[data-said=now]").inner_text()
    visit.context.clear_cookies()
    visit.page.locator("#along").dispatch_event("change")
    come_back(visit, key)
    assert form.locator(f"[name='{name}']:checked").count() == 1
    assert visit.page.locator("[data-said=now]").inner_text() == told
