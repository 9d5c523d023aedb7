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
