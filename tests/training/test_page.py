"""A page of its own: what it escapes, what it never loads, how it is read in two languages."""

from html.parser import HTMLParser

import pytest
from markupsafe import Markup
from matplotlib.figure import Figure

from training.page import Section, card, cards, page, svg, table, tinted


class Tags(HTMLParser):
    """The tags that are open, and every tag and attribute that was seen."""

    VOID = ("meta", "input", "path", "use", "br")

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def read(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    tags.close()
    assert tags.open == []
    return tags


def drawing(title: str) -> Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1])
    axes.set(title=title)
    return figure


@pytest.fixture(scope="module")
def whole() -> str:
    rows = [
        ["<script>alert(1)</script>", 0.123456, {"en": "yes & no", "zh": "是与否"}, None],
        [tinted(1, "bad"), 2, 3, 4],
    ]
    sections = [
        Section({"en": "Numbers", "zh": "数字"}, [table(["a", "b", {"en": "c", "zh": "丙"}, "d"], rows, strong=[1])]),
        Section("Pictures", [{"en": "<i>said</i>", "zh": "说"}, svg(drawing("one <x>")), svg(drawing("two"), "below")]),
    ]
    return page({"en": "Title", "zh": "标题"}, "lead", sections, [cards([card(1.5, "points")])])


def test_tags_are_closed_and_names_from_data_stay_text(whole):
    tags = read(whole)
    assert not [tag for tag, _ in tags.seen if tag in ("script", "x", "iframe", "img", "link")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in whole
    assert "&lt;i&gt;said&lt;/i&gt;" in whole
    assert "one &lt;x&gt;" in whole


def test_nothing_is_loaded_and_no_handler_runs(whole):
    for _, attributes in read(whole).seen:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")]
        assert all(v is None or v.startswith("#") for k, v in attributes.items() if k in ("href", "xlink:href"))
    assert "@import" not in whole
    assert "url(http" not in whole


def test_both_languages_are_there_and_the_stylesheet_hides_one(whole):
    languages = [attributes["lang"] for tag, attributes in read(whole).seen if tag == "span" and "lang" in attributes]
    # Of the page and of a section the title, of a table a column and a cell, and a paragraph.
    assert languages.count("en") == languages.count("zh") == 5
    assert '#in-en:checked ~ main [lang="zh"]' in whole


def test_the_same_figure_gives_the_same_bytes_and_no_two_groups_share_a_name(whole):
    assert svg(drawing("one")) == svg(drawing("one"))
    assert '<g id="' not in whole
    assert "<text" in whole


def test_an_unknown_tint_is_refused():
    with pytest.raises(ValueError, match="tint"):
        tinted("x", '"><script>')


def test_finished_markup_is_kept():
    assert Markup("<b>1</b>") in table(["a"], [[Markup("<b>1</b>")]])
