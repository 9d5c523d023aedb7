"""The files that pages name under ``/console/static/``: our own, and plotly.js out of its package."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

__all__ = ["STATIC", "files"]

STATIC = Path(__file__).parent / "static"


@lru_cache(maxsize=1)
def files() -> dict[str, Path]:
    """Every file by its name; nothing of plotly is imported."""
    found = {path.name: path for path in STATIC.iterdir() if path.is_file()}
    spec = importlib.util.find_spec("plotly")
    if spec is not None and spec.submodule_search_locations:
        found["plotly.min.js"] = Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    return found
