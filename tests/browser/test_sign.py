"""Signing by keyboard alone, from the card to the audit table and the gate; what others wrote never runs."""

from __future__ import annotations

import json

import pytest

from configs import load
from configs.audit import entries
from configs.reviews import counted, missing_approval

HARM = "\"'><script>document.title='harmed'</script><img src=x onerror=\"document.title='harmed'\">"


@pytest.fixture(scope="module")
def key(desk):
    """A key that may sign, as `userops keys add` prints it."""
    return desk.run("keys", "add", "lin", "--scope", "sign").stdout.strip()


def rows(desk, model, version):
    return entries(load(desk.home, desk.now).audit_uri, model, version)


def focus(visit, wanted, most=400):
    """Press Tab until the element with that accessible name or value is in focus, as somebody without a mouse does."""
    for _ in range(most):
        visit.page.keyboard.press("Tab")
        found = visit.page.evaluate(
            "({tag: document.activeElement.tagName, name: document.activeElement.name ?? '',"
            " value: document.activeElement.value ?? '', text: document.activeElement.textContent.trim()})"
        )
        if wanted(found):
            outline = visit.page.evaluate(
                "(() => { const s = getComputedStyle(document.activeElement);"
                " return s.outlineStyle !== 'none' && s.outlineWidth !== '0px'; })()"
            )
            assert outline, f"nobody sees that {found} is in focus"
            return
    raise AssertionError("the keyboard does not get there")


def sign_by_keyboard(visit, word, comment, key):
    focus(visit, lambda one: one["name"] == "word")
    for _ in range(3):
        if visit.page.evaluate("document.activeElement.value") == word:
            break
        visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Space")
    focus(visit, lambda one: one["name"] == "comment")
    visit.page.keyboard.insert_text(comment)
    focus(visit, lambda one: one["name"] == "key")
    visit.page.keyboard.insert_text(key)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_load_state()
    visit.drawn()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_version_is_signed_by_keyboard_alone(window, desk, key, lang):
    visit = window(lang)
    visit.open("/console/models")
    href = "/console/models/churn/2"
    focus(visit, lambda one: one["tag"] == "A" and visit.page.evaluate(
        "(document.activeElement.getAttribute('href') ?? '').startsWith('/console/models/churn/2')"))  # fmt: skip
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url(f"**{href}**")
    visit.open(href)
    comment = {"en": "reads well, tab by tab", "zh": "可以上线"}[lang]
    before = rows(desk, "churn", "2")
    sign_by_keyboard(visit, "approved", comment, key)
    said = visit.page.get_by_role("status").inner_text()
    assert "lin" in said
    new = rows(desk, "churn", "2")[len(before) :]
    if new:  # the second of the two said the same of the same files: that is not written again
        (row,) = new
        assert (row.who, row.action, row.comment) == ("lin", "approved", comment)
        card = json.loads((desk.home / "desk" / "churn" / "2" / "card.json").read_text())
        assert row.evidence["model_json"] == card["model_json"]
    assert ("lin", "approved") in [(row.who, row.action) for row in counted(rows(desk, "churn", "2"))]
    assert key not in visit.page.content()


def lacks(desk):
    """What the gate's policy lacks of churn 2, as `training.gate.judge` asks it."""
    card = json.loads((desk.home / "desk" / "churn" / "2" / "card.json").read_text())
    said = missing_approval("reviewer", rows(desk, "churn", "2"), card["model_json"], card["trained_by"])
    return [one.got for one in said]


def test_the_gate_hears_what_was_said_on_the_page(window, desk, key):
    visit = window("en")
    visit.open("/console/models/churn/2")
    sign_by_keyboard(visit, "rejected", f"no {HARM}", key)
    assert HARM in visit.page.locator("main").inner_text()
    assert lacks(desk) == [f"rejected by lin: no {HARM}"]
    visit.open("/console/models/churn/2")
    sign_by_keyboard(visit, "approved", "taken back", key)
    assert lacks(desk) == []


def test_a_wrong_key_signs_nothing_and_keeps_the_comment(window, desk):
    visit = window("en")
    visit.expected = ("error: Failed to load resource",)
    before = len(rows(desk, "churn", "2"))
    visit.open("/console/models/churn/2")
    sign_by_keyboard(visit, "asked", "why so sure?", "uo_wrong_key")
    assert visit.page.get_by_role("alert").count() == 1
    assert visit.page.locator("textarea[name=comment]").input_value() == "why so sure?"
    assert len(rows(desk, "churn", "2")) == before


def test_a_version_that_changed_since_it_was_read_is_not_signed(window, desk, key):
    visit = window("en")
    visit.expected = ("error: Failed to load resource",)
    file = desk.home / "desk" / "churn" / "2" / "card.json"
    whole, before = file.read_bytes(), len(rows(desk, "churn", "2"))
    visit.open("/console/models/churn/2")
    try:
        file.write_text(json.dumps({**json.loads(whole), "model_json": "sha256:" + "0" * 64}))
        sign_by_keyboard(visit, "approved", "as I read it", key)
        assert "changed since you opened the page" in visit.page.get_by_role("alert").inner_text()
        assert "as I read it" in visit.page.content()
    finally:
        file.write_bytes(whole)
    assert len(rows(desk, "churn", "2")) == before


def test_what_is_being_written_outlives_the_other_language(window, desk):
    visit = window("en")
    visit.open("/console/models/churn/2")
    visit.page.locator("textarea[name=comment]").fill(f"half a thought {HARM}")
    visit.page.locator("input[name=key]").fill("uo_half_a_key")
    visit.page.locator("button[name=lang]").click()
    visit.page.wait_for_load_state()
    assert visit.page.locator("html").get_attribute("lang") == "zh-CN"
    assert visit.page.locator("textarea[name=comment]").input_value() == f"half a thought {HARM}"
    assert visit.page.locator("input[name=key]").input_value() == ""
    visit.open("/console/models/churn/2")
    assert visit.page.locator("textarea[name=comment]").input_value() == "", "it was kept for one page only"


@pytest.mark.parametrize("path", ["/console/user?id={}", "/console/users?q={}", "/console/decision?id={}",
                                  "/console/decisions?user={}", "/console/models/churn/compare?first={}",
                                  "/console/models/{}", "/console/user?id=u000010&model={}"])  # fmt: skip
def test_what_an_address_says_is_shown_as_text(window, path):
    from urllib.parse import quote

    visit = window("en")
    visit.expected = ("error: Failed to load resource",)
    visit.page.goto(visit.url + path.format(quote(HARM, safe="")))
    visit.page.wait_for_load_state()
    assert "harmed" not in visit.page.title().replace(HARM, "")
    assert visit.page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert (
        visit.page.evaluate("[...document.scripts].filter((s) => !s.src && s.type !== 'application/json').length") == 0
    )
