"""A reviewer's session in the browser: a cookie that says whose key opened it and until when, and is nothing more.

It is made of the key's id, an end and a MAC under what the file of keys holds of the key. So every worker and machine
that has the file knows it, it ends with the key, it opens nothing but the console, and it never holds the key itself.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from configs.keys import Key, Keys

__all__ = ["COOKIE", "HOURS", "opened", "session_of"]

COOKIE = "userops_session"
HOURS = 12


def opened(key: Key, now: float | None = None) -> str:
    """The cookie of a session that begins now with that key; ``now`` is in seconds since 1970."""
    ends = int((time.time() if now is None else now) + 3600 * HOURS)
    return f"{key.id}.{ends}.{_mac(key, ends)}"


def session_of(keys: Keys, cookie: str, now: float | None = None) -> str | None:
    """The id of the key whose session it is, whatever became of the key; None when it is no session, or over.

    Examples
    --------
    >>> from pathlib import Path
    >>> session_of(Keys(Path("/nowhere")), "000000000000.1.00") is None
    True
    """
    number, _, rest = cookie.partition(".")
    ends, _, mac = rest.partition(".")
    if not (ends.isascii() and ends.isdigit() and len(ends) < 12):
        return None
    key = keys.get(number)
    if key is None or not hmac.compare_digest(_mac(key, int(ends)).encode(), mac.encode("utf-8", "replace")):
        return None
    return number if (time.time() if now is None else now) < int(ends) else None


def _mac(key: Key, ends: int) -> str:
    told = f"userops console session\0{key.id}\0{ends}".encode()
    return hmac.new(bytes.fromhex(key.sha256), told, hashlib.sha256).hexdigest()
