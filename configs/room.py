"""Whether an error means that a disk is full, whoever raised it: Python, SQLite, DuckDB or SQLAlchemy."""

from __future__ import annotations

import errno
import sqlite3

from configs.errors import UseropsError

__all__ = ["no_room"]

# No room, no quota left, or a file larger than this process may write.
_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SAID = ("no space left on device", "disk is full", "file too large", "disk quota exceeded")
# With a limit on the size of files SQLite only knows which of its steps failed.
_CODES = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE),
    *(sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN),
}


def no_room(error: BaseException) -> UseropsError | None:
    """The sentence for people when ``error``, or what it came from, says that nothing more can be written; else None.

    Examples
    --------
    >>> print(no_room(OSError(errno.ENOSPC, "No space left on device", "/var/data")))
    nothing more can be written
      got: No space left on device: /var/data
      likely because: the disk is full, or this process may not write files as large
      run: the same command again once there is room: it leaves no half of anything
    >>> no_room(KeyError("a")) is None
    True
    """
    got: str | None = None
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        got = _says(one) or got  # the first cause says it best
        one = one.__cause__ or one.__context__
    if got is None:
        return None
    return UseropsError(
        "nothing more can be written",
        got=got,
        because="the disk is full, or this process may not write files as large",
        run="the same command again once there is room: it leaves no half of anything",
    )


def _says(error: BaseException) -> str | None:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    if isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) in _CODES:
        return text
    # DuckDB and others tell it in words alone.
    return text[:200] if not isinstance(error, UseropsError) and any(one in text.lower() for one in _SAID) else None
