"""A page as one file: everything inside, nothing asked for, nothing that came out of data can run."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.console import charts
from serving.console.assets import address, files, text_of
from serving.console.export import self_contained
from serving.console.join import content_of
from serving.console.plotly_script import KINDS, only_drawn

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>a &amp; b</title>
<link rel="icon" href="{address("icon.svg")}">
<link rel="stylesheet" href="{address("console.css")}">
<link rel="stylesheet" href="{address("plotly.css")}" id="plotly.js-style-global" class="no-inline-styles">
<script src="{address("plotly.min.js")}" defer></script>
<script src="{address("console.js")}" defer></script>
</head>
<body>
<header><nav><a href="/console/models">Models</a></nav></header>
<form method="post" action="/console/language"><form><button>中文</button></form></form>
<main id="content"><h1>title</h1><a class="button" href="/console/users?q=a">users</a> <a href="#here">here</a>
<a href="https://mlflow.example/#/runs">run</a><p data-live>only here<b>!</b></p><br/>&lt;b&gt; &#39;
<script type="application/json" id="d">{{"a": "<\\u002fscript>"}}</script></main>
</body>
</html>
"""


class Seen(HTMLParser):
    """Elements in order, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "": []}
        self._in = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag if tag in ("script", "style") else ""
        if self._in:
            self.texts[self._in].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._in][-1:] = ["".join([*self.texts[self._in][-1:], data])]


def policy_of(seen: Seen) -> dict[str, list[str]]:
    content = next(a["content"] for t, a in seen.tags if t == "meta" and "http-equiv" in a)
    return {words[0]: words[1:] for part in str(content).split(";") if (words := part.split())}


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("packed", [True, False])
def test_nothing_is_asked_for_and_only_our_own_scripts_may_run(packed):
    seen = Seen(self_contained(PAGE, packed))
    addresses = [a[name] or "" for t, a in seen.tags for name in ("src", "href", "action") if name in a]
    assert [one for one in addresses if not one.startswith(("data:", "#", "https://mlflow.example/"))] == []
    policy = policy_of(seen)
    assert policy["default-src"] == ["'none'"]
    assert sorted(policy["style-src"]) == sorted(digest(style) for style in seen.texts["style"])
    scripts = [text for (t, a), text in zip([one for one in seen.tags if one[0] == "script"], seen.texts["script"],
                                            strict=True) if a.get("type") is None]  # fmt: skip
    own = [text_of(name) for name in ("plotly.min.js", "console.js")]
    if packed:
        data = next(text for text in seen.texts["script"] if text.startswith("H4sI"))
        assert json.loads(gzip.decompress(base64.b64decode(data))) == own
        scripts += own
    assert sorted(policy["script-src"]) == sorted(digest(script) for script in scripts)
    assert len(scripts) == (3 if packed else 2)


def test_what_would_ask_the_service_is_text_or_gone():
    seen = Seen(self_contained(PAGE))
    assert {"form", "button", "nav"} & {tag for tag, _ in seen.tags} == set()
    assert [a["href"] for tag, a in seen.tags if tag == "a"] == ["#here", "https://mlflow.example/#/runs"]
    text = seen.texts[""][0]
    assert "users" in text
    assert "<b> '" in text
    assert "only here" not in text
    assert ("span", {"class": "button"}) in seen.tags


def test_plotly_starts_only_the_kinds_that_are_drawn():
    whole = files()["plotly.min.js"].read_text(encoding="utf-8")
    shorter = only_drawn(whole)
    assert shorter != whole, "this version of plotly.js looks otherwise: nothing is shortened, and pages are slow"
    before, after = (re.findall(r"\.register\(\[([^\]]+)\]\)", text)[-1] for text in (whole, shorter))
    assert set(after.split(",")) < set(before.split(","))
    assert len(after.split(",")) == len(KINDS)
    assert shorter.replace(after, "") == whole.replace(before, "")
    drawn = {
        kind
        for path in Path(charts.__file__).parent.glob("*.py")
        for kind in re.findall(r'"type": "([a-z]+)"', path.read_text(encoding="utf-8"))
    }
    assert drawn - {"data", "date", "scatter"} == KINDS


def test_it_is_a_third_of_what_lies_in_it():
    whole = self_contained(PAGE)
    assert len(whole) < 2_100_000
    assert len(self_contained(PAGE, packed=False)) > 4_800_000
    assert len(self_contained(re.sub(r"<script src=.*\n", "", PAGE))) < 50_000


MARKUP = st.recursive(
    st.text(alphabet="ab<>&\"'\n;#中", max_size=12).map(lambda t: t.replace("&", "&amp;").replace("<", "&lt;")),
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", st.sampled_from(["p", "b", "td"]),
                            st.lists(inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@given(MARKUP)
def test_what_leads_nowhere_stays_as_it_stood(markup):
    page = f'<!doctype html><html><head><meta charset="utf-8"></head><body>{markup}</body></html>'
    assert markup in self_contained(page)
    assert content_of(f"<body><p>before</p><main>{markup}</main>after</body>", "x-") == markup


def test_pages_in_one_document_keep_their_ids_apart():
    page = (
        '<main id="content"><h1>a</h1><h2 id="s">b</h2><figure id="c"><div data-figure="c-data" aria-label="x"></div>'
        '<script type="application/json" id="c-data">{"a": "&lt;/h1>"}</script></figure>'
        '<label for="f">l</label><input id="f" aria-describedby="s c" hidden><a href="#s">up</a>'
        '<a href="/console/x">x</a></main><footer id="foot"></footer>'
    )
    assert content_of(page, "2-") == (
        '<h2>a</h2><h3 id="2-s">b</h3><figure id="2-c"><div data-figure="2-c-data" aria-label="x"></div>'
        '<script type="application/json" id="2-c-data">{"a": "&lt;/h1>"}</script></figure>'
        '<label for="2-f">l</label><input id="2-f" aria-describedby="2-s 2-c" hidden><a href="#2-s">up</a>'
        '<a href="/console/x">x</a>'
    )
