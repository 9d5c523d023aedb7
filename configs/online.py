"""Where published features are read while serving: ``online_store`` of project.yaml, or ``USEROPS_ONLINE``."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from configs.errors import ConfigError

__all__ = ["LOCAL_REDIS", "online_uri"]

LOCAL_REDIS = "redis://127.0.0.1:6379/0"
_EXPECTED = "sqlite, redis, or redis://host:port/db (rediss:// with TLS)"


def online_uri(online_store: object, home: Path) -> str:
    """``sqlite:///`` and the file of the home, or a Redis; ``USEROPS_ONLINE``, which may hold a password, comes first.

    Examples
    --------
    >>> online_uri("redis", Path("/home"))
    'redis://127.0.0.1:6379/0'
    """
    told = os.environ.get("USEROPS_ONLINE")
    where = "USEROPS_ONLINE" if told else "project.yaml: online_store"
    uri = told or online_store
    if uri == "sqlite":
        return f"sqlite:///{home / 'online.db'}"
    if uri == "redis":
        return LOCAL_REDIS
    try:
        parts = urlsplit(str(uri))
        sound = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
        sound = sound and (parts.path in ("", "/") or parts.path[1:].isdecimal())
    except ValueError:
        sound = False
    if not sound:
        # Not what was given: it may hold a password.
        raise ConfigError(where, got="something else", expected=_EXPECTED)
    if parts.password and not told:
        raise ConfigError(f"{where} holds a password", expected="a file without secrets", run="set USEROPS_ONLINE")
    return str(uri)
