"""The words of the pages: nothing is asked for that is not there, nothing is there that nobody asks for."""

from __future__ import annotations

import re
import string
from functools import cache
from pathlib import Path

import pytest
import yaml

CONSOLE = Path(__file__).parents[3] / "serving" / "console"
PAGES = sorted(path.stem for path in (CONSOLE / "words").glob("*.yaml"))
KEY = rf"(?:{'|'.join(PAGES)})\.[A-Za-z0-9_.]*"
FILES = (".db", ".html", ".json", ".yaml", ".py", ".js", ".css")


@cache
def entries() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name in PAGES:
        content = yaml.safe_load((CONSOLE / "words" / f"{name}.yaml").read_text(encoding="utf-8")) or {}
        found |= {f"{name}.{key}": entry for key, entry in content.items()}
    return found


@cache
def asked() -> tuple[frozenset[str], frozenset[str]]:
    """The keys that stand whole in templates and modules, and the beginnings of those that are put together."""
    whole, begun = set(), set()
    # A report reads templates of this folder, too; some modules beside the console say words of it.
    sources = [*CONSOLE.rglob("*.py"), *CONSOLE.rglob("*.html"), *CONSOLE.parent.glob("*.py")]
    for path in sources:
        text = path.read_text(encoding="utf-8")
        for quote in ('"', "'"):
            for found in re.finditer(rf"{quote}({KEY})(\{{?)([^{quote}\n]*){quote}(\s*~)?", text):
                key, brace, rest, joined = found.groups()
                if brace or joined:
                    begun.add(key)
                elif not rest:
                    whole.add(key)
        for found in re.finditer(rf"or_code\(\s*[\"']({KEY}|[a-z_]+\.[a-z_]+)[\"']", text):
            begun.add(found[1] + ".")
        for found in re.finditer(rf"[\"']({KEY})[\"']\s*\+", text):
            begun.add(found[1])
    return frozenset(whole), frozenset(begun)


def test_every_word_that_a_page_asks_for_is_there():
    whole, begun = asked()
    missing = {key for key in whole if key not in entries() and not key.endswith(FILES)}
    assert not {key for key in missing if not {key, f"{key}."} & begun}  # or_code continues some of them


def test_every_word_is_asked_for():
    whole, begun = asked()
    unused = {key for key in entries() if key not in whole and not any(key.startswith(one) for one in begun)}
    assert not unused


def test_what_is_put_together_leads_somewhere():
    _, begun = asked()
    assert not {one for one in begun if not any(key.startswith(one) for key in entries())}


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_say_it_with_the_same_fields(page):
    for key, entry in entries().items():
        if not key.startswith(f"{page}."):
            continue
        assert set(entry) == {"en", "zh"}, key
        fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in entry.values()]
        assert fields[0] == fields[1], key
        assert all(text.strip() for text in entry.values()), key
        assert key.startswith("base.language") or not re.search(r"[一-鿿]", entry["en"]), key
