"""What a line of the log may say of a person, and that it stays one line: nobody writes lines of ours into it.

``USEROPS_LOG_USERS`` says how user ids stand in log lines: ``plain`` (the default), or ``hashed``: as 16 hexadecimal
digits of SHA-256, the same as MLflow holds; then of exceptions there are names and frames, not what they say, because
that may be anything; of our own, the first line. Nothing else of a person is ever in a line, and metrics and spans hold
not even the id.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import traceback
from types import TracebackType
from typing import Any

from configs.errors import ConfigError, UseropsError
from serving.metrics import route_of

__all__ = ["guard", "hashes_users", "one_line", "path_of"]

VARIABLE = "USEROPS_LOG_USERS"
OURS = ("bentoml.userops", "userops")  # loggers; others' lines say nothing of what is asked
# Line feeds and whatever else a terminal or a reader of logs obeys: C0, C1, line and paragraph separators, and the
# characters that turn the direction of what follows.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_USER = re.compile(r"(/(?:v1|console)/users/)(.+?)(/(?:profile|personalization|consents/.*|tags/.*))?", re.DOTALL)
_Excepted = tuple[type[BaseException], BaseException, TracebackType | None]
_plain = logging.getLogRecordFactory()


def hashes_users() -> bool:
    """Whether user ids stand in log lines as digits."""
    kind = os.environ.get(VARIABLE) or "plain"
    if kind not in ("plain", "hashed"):
        raise ConfigError(VARIABLE, got=kind, expected="plain or hashed")
    return kind == "hashed"


def one_line(text: object) -> str:
    r"""A text as one line of a log shows it; an error's own lines follow each other.

    Examples
    --------
    >>> one_line("u1\n2026-11-22 [ERROR] forged \x1b[31m")
    'u1\\x0a2026-11-22 [ERROR] forged \\x1b[31m'
    >>> one_line(ConfigError("x", got=1))
    'x; got: 1'
    """
    if isinstance(text, BaseException):
        return _escaped(_words(text).replace("\n  ", "; "))
    return _escaped(str(text))


def path_of(path: str) -> str:
    r"""The path of a request as the log names it.

    Examples
    --------
    >>> path_of("/v1/users/u1\n/profile")
    '/v1/users/u1\\x0a/profile'
    """
    if not hashes_users():
        return one_line(path)
    found = _USER.fullmatch(path)
    if found is None:
        return route_of(path)  # of what a caller has made up nothing is told
    digits = hashlib.sha256(found[2].encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{found[1]}{digits}{'/'.join((found[3] or '').split('/')[:2])}"


def guard() -> None:
    """Let every record of our loggers be one line, and its traceback lines that begin with blanks."""
    hashes_users()  # a variable that says something else is told now, not with the first error
    logging.setLogRecordFactory(_record)


def _record(
    name: str, level: int, file: str, line: int, message: object, args: Any, excepted: Any, *more: Any, **named: Any
) -> logging.LogRecord:
    if not name.startswith(OURS):
        return _plain(name, level, file, line, message, args, excepted, *more, **named)
    if not args:
        message = one_line(message)
    elif isinstance(args, tuple):
        args = tuple(one if isinstance(one, int | float) else one_line(one) for one in args)
    record = _plain(name, level, file, line, message, args, excepted, *more, **named)
    if isinstance(excepted, tuple) and excepted[0] is not None:
        record.exc_text = _told(excepted)
        if hashes_users():
            record.exc_info = None  # a formatter that makes its own traceback must not tell more
    return record


def _told(excepted: _Excepted) -> str:
    """A traceback whose every line begins with a blank, so that none looks like a record; without words if asked."""
    if hashes_users():
        frames = "".join(traceback.format_tb(excepted[2]))
        lines = f"{frames}{excepted[0].__module__}.{excepted[0].__qualname__}".splitlines()
    else:
        lines = [line for part in traceback.format_exception(*excepted) for line in part.splitlines()]
    return "\n".join(f"  {_escaped(line)}" for line in lines)


def _words(error: BaseException) -> str:
    """What an error says; where users are digits, nothing that it may have been told: of ours the sentence is left."""
    if not hashes_users():
        return str(error)
    return error.what if isinstance(error, UseropsError) else type(error).__qualname__


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda one: f"\\x{ord(one[0]):02x}", text)
