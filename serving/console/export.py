"""A page as one file that needs nothing else: styles and scripts inside, no request at all.

plotly.js is 4.9 MB of text: within the file it lies compressed, 2 MB, and the reader's browser unpacks it. The file's
own policy allows the digests of exactly these scripts and styles, so nothing that came out of data could ever run.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import mimetypes
from functools import lru_cache
from html import escape

from serving.console.assets import files, text_of
from serving.console.verbatim import VOID, Verbatim

__all__ = ["self_contained"]

_STATIC = "/console/static/"
#: Left out with everything in them: they would ask the service. ``data-live`` marks other such elements.
_LIVE = ("form", "nav")
_UNPACK = """"use strict";
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("packed").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  for (const text of JSON.parse(await new Response(stream).text())) {
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
  }
})();
"""


def self_contained(html: str, packed: bool = True) -> str:
    """The page with its styles and scripts inside, without forms, its links into the service turned into text.

    Parameters
    ----------
    packed
        Compress the scripts; without, the page is drawn when it has loaded, which a printing browser waits for.
    """
    page = _Page()
    page.feed(html)
    page.close()
    names = tuple(page.scripts)
    scripts, digests = "", tuple[str, ...]()
    if names and packed:
        data, digests = _packed(names)
        scripts = f'<script type="text/plain" id="packed">{data}</script>\n<script>{_UNPACK}</script>\n'
    elif names:
        texts = [_inline(name) for name in names]
        scripts, digests = "".join(f"<script>{text}</script>\n" for text in texts), tuple(map(_digest, texts))
    policy = (
        f"default-src 'none'; script-src {' '.join(digests) or chr(39) + 'none' + chr(39)}; "
        f"style-src {' '.join(_digest(style) for style in page.styles)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    meta = f'<meta http-equiv="content-security-policy" content="{escape(policy)}">'
    whole = "".join(page.written)
    head, charset, rest = whole.partition('<meta charset="utf-8">')
    body, end, tail = rest.rpartition("</body>")
    return f"{head}{charset}\n{meta}{body}{scripts}{end}{tail}"


class _Page(Verbatim):
    """Writes again what it reads, as it stood there, but for what leads to the service."""

    def __init__(self) -> None:
        super().__init__()
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self._left_out: tuple[str, int] | None = None  # an element, and how many of its name are open within
        self._anchors: list[str] = []

    @property
    def keeping(self) -> bool:
        return self._left_out is None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if self._left_out is not None:
            name, depth = self._left_out
            self._left_out = (name, depth + (tag == name))
        elif tag in _LIVE or "data-live" in given:
            self._left_out = None if tag in VOID else (tag, 1)
        elif tag == "link":
            self._link(given)
        elif tag == "script" and "src" in given:
            self.scripts.append(_name(given["src"]))
            self._left_out = (tag, 1)
        elif tag == "a":
            leads = given.get("href", "").startswith(("#", "https://", "http://"))
            self._anchors.append("a" if leads else "span")
            kept = f' class="{escape(given["class"])}"' if "class" in given else ""
            self.written.append(str(self.get_starttag_text()) if leads else f"<span{kept}>")
        else:
            self.written.append(str(self.get_starttag_text()))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.write(str(self.get_starttag_text()))

    def handle_endtag(self, tag: str) -> None:
        if self._left_out is not None:
            name, depth = self._left_out
            depth -= tag == name
            self._left_out = (name, depth) if depth else None
        elif tag == "a" and self._anchors:
            self.written.append(f"</{self._anchors.pop()}>")
        else:
            self.written.append(f"</{tag}>")

    def handle_decl(self, decl: str) -> None:
        self.write(f"<!{decl}>")

    def _link(self, given: dict[str, str]) -> None:
        name = _name(given.get("href", ""))
        if given.get("rel") == "stylesheet":
            style = text_of(name)
            self.styles.append(style)
            kept = "".join(f' {key}="{escape(given[key])}"' for key in ("id", "class") if key in given)
            self.written.append(f"<style{kept}>{style}</style>")
        elif given.get("rel") == "icon":
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            data = base64.b64encode(files()[name].read_bytes()).decode()
            self.written.append(f'<link rel="icon" href="data:{kind};base64,{data}">')


def _name(address: str) -> str:
    """The file behind an address, whose query holds its digest."""
    return address.removeprefix(_STATIC).partition("?")[0]


@lru_cache(maxsize=8)
def _packed(names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The scripts as base64 of a compressed list, and what the policy has to allow for them."""
    texts = [text_of(name) for name in names]
    data = base64.b64encode(gzip.compress(json.dumps(texts).encode(), mtime=0)).decode()
    return data, (_digest(_UNPACK), *map(_digest, texts))


def _inline(name: str) -> str:
    """A script that can stand inside its element: in strings and regular expressions the backslashes mean nothing."""
    text = text_of(name)
    return text.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _digest(text: str) -> str:
    """The text as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
