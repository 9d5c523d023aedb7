"""Bytes from disk that are what somebody said they are."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from configs.errors import BundleError

__all__ = ["read", "read_json", "sha256", "write"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_AGAIN = "userops release"


def sha256(content: bytes) -> str:
    """``sha256:`` and the hex digest of ``content``.

    Examples
    --------
    >>> sha256(b"")[:19]
    'sha256:e3b0c44298fc'
    """
    return "sha256:" + hashlib.sha256(content).hexdigest()


def read(root: Path, name: str, expected: str | None) -> bytes:
    """The bytes of ``root/name``, read once, refused when they are not those of ``expected``.

    ``name`` is one or more plain parts (``churn/model.json``). No part below ``root`` may be a symbolic link:
    a release holds its files, it does not point at them.
    """
    parts = name.split("/")
    if not all(_NAME.fullmatch(part) for part in parts):
        raise BundleError(f"{root}: file name leaves its folder", got=name, expected="plain names joined by /")
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise BundleError(
                f"{path} is a symbolic link", got=os.readlink(path), expected="a file of the release itself"
            )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read", got=error.strerror, expected="a file", run=_AGAIN) from None
    if expected is not None and (got := sha256(content)) != expected:
        raise BundleError(
            f"{path} is not the file that was released",
            got=f"{got} ({len(content)} bytes)",
            expected=expected,
            because="it was truncated or altered after it was written",
            run=_AGAIN,
        )
    return content


def read_json(content: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in ``content``; NaN and Infinity are refused."""
    try:
        value = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON", got=str(error), run=_AGAIN) from None
    if not isinstance(value, dict):
        raise BundleError(f"{path} must hold an object", got=type(value).__name__, expected="{...}")
    return value


def write(path: Path, content: bytes) -> None:
    """Write ``content`` so that it is on the disk when this returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")
