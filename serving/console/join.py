"""What stands on a page, taken out of it so that several pages can stand in one: ids apart, headings a step lower."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

from serving.console.verbatim import VOID, Verbatim

__all__ = ["content_of"]

_REFERS = ("for", "headers", "list", "data-figure", "aria-controls", "aria-describedby", "aria-labelledby", "aria-owns")


def content_of(html: str, prefix: str, sections: Collection[str] | None = None) -> str:
    """What lies within ``<main>``; ``prefix`` stands before every id and whatever refers to one.

    With ``sections``, only the sections of the page that carry one of these names as ``aria-labelledby``.

    Examples
    --------
    >>> content_of('<main id="content"><h1 id="a">A &amp; b</h1><a href="#a">up</a></main>', "p1-")
    '<h2 id="p1-a">A &amp; b</h2><a href="#p1-a">up</a>'
    """
    found = _Content(prefix, sections)
    found.feed(html)
    found.close()
    return "".join(found.written)


class _Content(Verbatim):
    def __init__(self, prefix: str, sections: Collection[str] | None) -> None:
        super().__init__()
        self.prefix = prefix
        self.sections = sections
        self._inside = False
        self._within = 0  # how many sections are open, from one that is wanted

    @property
    def keeping(self) -> bool:
        return self._inside and (self.sections is None or self._within > 0)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section" and self.sections is not None:
            self._within += self._within > 0 or dict(attrs).get("aria-labelledby") in self.sections
        if tag == "main":
            self._inside = True
        else:
            self.write(f"<{_lower(tag)}{''.join(self._attribute(*one) for one in attrs)}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "main":
            self._inside = False
        else:
            self.write(f"</{_lower(tag)}>")
            self._within -= tag == "section" and self._within > 0

    def _attribute(self, name: str, value: str | None) -> str:
        if value is None:
            return f" {name}"
        if name == "id":
            value = self.prefix + value
        elif name == "href" and value.startswith("#"):
            value = f"#{self.prefix}{value[1:]}"
        elif name in _REFERS:
            value = " ".join(self.prefix + one for one in value.split())
        return f' {name}="{escape(value)}"'


def _lower(tag: str) -> str:
    return f"h{min(int(tag[1]) + 1, 6)}" if len(tag) == 2 and tag[0] == "h" and tag[1].isdecimal() else tag
