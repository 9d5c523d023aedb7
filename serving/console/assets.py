"""The files that pages name under ``/console/static/``: our own, and plotly.js out of its package."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import mimetypes
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from serving.console.plotly_script import only_drawn

__all__ = ["PLACE", "STATIC", "Asset", "address", "asset", "files", "plotly_styles", "text_of"]

PLACE = "/console/static/"
PLOTLY = "plotly.min.js"
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class Asset:
    """One file as it is sent; ``packed`` is its gzip, the only copy that is kept: plotly.js unpacked has 4.9 MB."""

    packed: bytes
    etag: str
    media_type: str


@lru_cache(maxsize=1)
def files() -> dict[str, Path]:
    """Every file by its name; nothing of plotly is imported."""
    found = {path.name: path for path in STATIC.iterdir() if path.is_file()}
    spec = importlib.util.find_spec("plotly")
    if spec is not None and spec.submodule_search_locations:
        found[PLOTLY] = Path(spec.submodule_search_locations[0]) / "package_data" / PLOTLY
    return found


def asset(name: str) -> Asset | None:
    """A file ready to be sent, packed once; None where there is none of that name."""
    # Names that nobody has do not drive out what was packed.
    return _packed(name) if name in files() else None


@lru_cache(maxsize=16)
def _packed(name: str) -> Asset:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Asset(gzip.compress(text_of(name).encode(), 6, mtime=0), f'"{_digest(name)}"', kind)


def text_of(name: str) -> str:
    """What a file says; of plotly.js, what our charts need of it."""
    text = files()[name].read_bytes().decode()
    return only_drawn(text) if name == PLOTLY else text


def address(name: str) -> str:
    """Where a page finds a file; another content has another address, so that browsers may keep what they have.

    Examples
    --------
    >>> address("console.css").startswith("/console/static/console.css?v=")
    True
    """
    return f"{PLACE}{name}?v={_digest(name)}"


@lru_cache(maxsize=1)
def plotly_styles() -> tuple[str, ...]:
    """The ids that plotly.js looks for before it writes a style element, which our policy forbids.

    They are those of styles of its maps, which no chart of ours shows: an element with such an id keeps it quiet.
    """
    script = files()[PLOTLY].read_text(encoding="utf-8")
    return tuple(dict.fromkeys(re.findall(r'getElementById\("([0-9a-f]{64})"\)', script)))


@lru_cache(maxsize=16)
def _digest(name: str) -> str:
    return hashlib.sha256(text_of(name).encode()).hexdigest()[:16]
