"""Which code runs: the commit of a checkout, or the version of the installed package."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["commit", "revision"]

ROOT = Path(__file__).parents[1]


@cache
def revision() -> str:
    """``userops 0.1.0``, and in a checkout ``, commit 1f0c2e9ab310``, with ``+ changes`` where files differ from it.

    Examples
    --------
    >>> revision().startswith("userops ")
    True
    """
    try:
        package = f"userops {version('userops')}"
    except PackageNotFoundError:
        package = "userops"
    if (found := commit()) is None:
        return package
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *("configs", "features", "training"))
    return f"{package}, commit {found[:12]}" + (" + changes" if changed else "")


@cache
def commit() -> str | None:
    """The commit that is checked out; None when this is no checkout of its own, or git is missing."""
    top = _git("rev-parse", "--show-toplevel")
    return _git("rev-parse", "HEAD") or None if top and Path(top).resolve() == ROOT else None


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
