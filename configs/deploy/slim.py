"""What the service needs of ``requirements.lock`` and nothing else, with the hashes that stand there.

::

    python -m configs.deploy.slim > configs/deploy/serving.lock

The roots are the packages of ``serving/bentofile.yaml`` and the exporter of traces; what they need in turn is read from
the metadata of the installed environment (``make setup``), for every Python that the project supports on this platform.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from configs.documents import read_yaml

__all__ = ["closure", "pinned", "slim_lock"]

ROOT = Path(__file__).parents[2]
TRACES = "opentelemetry-exporter-otlp-proto-http"
PYTHONS = ("3.11.0", "3.11.14", "3.12.0", "3.13.0")
HEAD = "# What the serving image installs. Written by `python -m configs.deploy.slim`; do not edit.\n"


def closure(roots: Iterable[str]) -> frozenset[str]:
    """The canonical names of all distributions that ``roots`` need on this platform, themselves among them.

    What only another Python needs is not installed here: of it the name is known, and not what it needs itself.

    Examples
    --------
    >>> sorted(closure(["jinja2"]))
    ['jinja2', 'markupsafe']
    """
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(root) for root in roots]
    while todo:
        one = todo.pop()
        name = str(canonicalize_name(one.name))
        for extra in {"", *one.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            todo += [need for need in _requirements(name) if _holds(need, extra)]
    return frozenset(name for name, _ in seen)


def _requirements(name: str) -> list[Requirement]:
    try:
        return [Requirement(text) for text in requires(name) or ()]
    except PackageNotFoundError:
        return []


def _holds(need: Requirement, extra: str) -> bool:
    """Whether it is needed with that extra by any of `PYTHONS`."""
    if need.marker is None:
        return True
    versions = [(full, full.rpartition(".")[0]) for full in PYTHONS]
    environments = [{"extra": extra, "python_full_version": full, "python_version": short} for full, short in versions]
    return any(need.marker.evaluate(one) for one in environments)


def pinned(lock: str) -> list[tuple[str, str]]:
    """``(name, its lines)`` of a lock with hashes; without the comments, which say who else wanted it.

    A name may come more than once, each time for other platforms.
    """
    blocks = re.findall(r"^[a-z0-9][^\n]*(?:\n    --hash[^\n]*)+", lock, re.MULTILINE)
    return [(str(canonicalize_name(block.split("==")[0])), block) for block in blocks]


def slim_lock(root: Path = ROOT) -> str:
    """The text of ``configs/deploy/serving.lock``."""
    packages: list[str] = read_yaml(root / "serving" / "bentofile.yaml")["python"]["packages"]
    blocks, needed = pinned((root / "requirements.lock").read_text(encoding="utf-8")), closure([*packages, TRACES])
    return HEAD + "".join(f"{block}\n" for name, block in blocks if name in needed)


if __name__ == "__main__":
    sys.stdout.write(slim_lock())
