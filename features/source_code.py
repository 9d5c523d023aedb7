"""Which code computed a value: a digest of sources, so that what was computed by others is computed again."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

__all__ = ["digest_of", "features_digest"]

HERE = Path(__file__).parent
# These compute no feature: they invent shops, measure time, keep bytes, or talk to people.
NO_VALUES = (
    "benchmark_features.py",
    "benchmark_frames.py",
    "benchmark_growth.py",
    "benchmark_online.py",
    "benchmark_publish.py",
    "benchmark_store.py",
    "forget.py",
    "forgotten.py",
    "online",
    "redis_server.py",
    "simulate",
    "verbs.py",
    "verbs_benchmark.py",
)


def digest_of(folder: Path, names: tuple[str, ...]) -> str:
    """SHA-256 of the sources ``names`` below ``folder``; a name of a folder stands for all modules in it.

    Examples
    --------
    >>> digest_of(HERE, ("tiles.py",)) == digest_of(HERE, ("build.py",))
    False
    """
    content = hashlib.sha256()
    for name in names:
        path = folder / name
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            source = file.read_bytes()
            content.update(f"{file.relative_to(folder).as_posix()} {len(source)}\n".encode())
            content.update(source)
    return "sha256:" + content.hexdigest()


@cache
def features_digest() -> str:
    """Of everything in this room that a feature may depend on; the files are read once in a process."""
    return digest_of(HERE, tuple(sorted(path.name for path in HERE.iterdir() if _computes(path))))


def _computes(path: Path) -> bool:
    module = path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists())
    return module and path.name not in NO_VALUES
