"""``application/problem+json`` (RFC 9457): the one shape of every error that the service answers.

::

    {"type": "urn:userops:problem:invalid-request", "title": "Invalid request", "status": 400,
     "detail": "user_ids[1] must be a string", "field": "user_ids[1]", "expected": "a string", "got": "7",
     "request_id": "..."}
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from serving.metrics import metrics

__all__ = ["Problem", "from_status", "from_validation"]

MEDIA_TYPE = "application/problem+json"
_SHOWN = 120  # characters of a wrong value that are shown; ids may be megabytes


class Problem(Exception):
    """An error that the caller is told about: ``detail`` says what, ``field``, ``expected`` and ``got`` say where."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        field: str | None = None,
        expected: Any = None,
        got: Any = None,
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.request_id = request_id
        self.status, self.kind, self.detail = status, kind, detail
        self.field, self.expected, self.got = field, expected, got
        self.headers = dict(headers or {})

    def response(self, request_id: str | None = None) -> Response:
        """The HTTP answer; members that say nothing are left out."""
        metrics().problem(self.kind)
        body = {
            "type": f"urn:userops:problem:{self.kind}",
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "field": self.field,
            "expected": self.expected,
            "got": self.got,
            "request_id": request_id,
        }
        content = to_json({key: value for key, value in body.items() if value is not None})
        return Response(content, self.status, self.headers, media_type=MEDIA_TYPE)


_KINDS = {
    400: ("invalid-request", "the request cannot be understood"),
    404: ("not-found", "nothing lives at this address; see /docs.json"),
    405: ("method-not-allowed", "this address does not answer that method"),
    408: ("request-timeout", "the body did not arrive in time"),
    413: ("too-large", "the request asks for too much at once"),
    415: ("unsupported-media-type", "send application/json"),
    429: ("too-many-requests", "too many requests at once; try again later"),
    503: ("unavailable", "the service cannot answer now"),
    504: ("timeout", "the answer took too long"),
}


def from_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem for a bare status code; whatever else the answer said is not repeated.

    Examples
    --------
    >>> from_status(405).kind
    'method-not-allowed'
    >>> from_status(500).detail
    'an error on our side; it has been logged'
    """
    if status in _KINDS:
        kind, detail = _KINDS[status]
    elif status < 500:
        kind, detail = HTTPStatus(status).phrase.lower().replace(" ", "-"), HTTPStatus(status).description
    else:
        kind, detail = "internal-error", "an error on our side; it has been logged"
    return Problem(status, kind, detail, headers=headers)


def from_validation(error: ValidationError, request_id: str | None = None, given: Any = None) -> Problem:
    """The problem for a question that does not match its schema: the first mistake, and how many there are.

    ``given`` is what was sent: fields are named as they stand there, without the kinds that a value may be of.
    """
    errors = error.errors(include_url=False, include_context=False)
    first = errors[0]
    paths = [_path(one["loc"], given, one["type"] == "missing") for one in errors]
    field = paths[0]
    # Of a value that may be of several kinds, each says why it is none of it.
    tried = [str(one["msg"]) for one, path in zip(errors, paths, strict=True) if path == field]
    message = "; or ".join(dict.fromkeys(tried))
    detail = f"{field}: {message}" if field else message
    if len(set(paths)) > 1:
        detail += f" (and {len(set(paths)) - 1} more)"
    # Unparsable JSON has the whole body as its input: the message already names line and column.
    broken = first["type"] == "json_invalid"
    got = None if broken or first["type"] == "missing" else shown(first["input"])
    return Problem(
        400,
        "invalid-request",
        detail,
        field=field or None,
        expected="valid JSON" if broken else message,
        got=got,
        request_id=request_id,
    )


def shown(value: Any) -> str:
    """A wrong value, short enough to be read.

    Examples
    --------
    >>> shown("a" * 500)[-21:]
    "aaa' (500 characters)"
    """
    if isinstance(value, list):
        return f"{len(value)} entries"
    if isinstance(value, str | bytes) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r} ({len(value)} characters)"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _path(location: tuple[int | str, ...], given: Any = None, missing: bool = False) -> str:
    path, inner, followed = "", given, given is not None
    for place, part in enumerate(location):
        if followed:
            there = isinstance(inner, dict) and part in inner
            if there or (isinstance(inner, list) and isinstance(part, int) and part < len(inner)):
                inner = inner[part]
            elif not (missing and place == len(location) - 1):
                continue  # a kind of value, not a place in what was sent
        path += f"[{part}]" if isinstance(part, int) else f".{part[:_SHOWN]}"
    return path.removeprefix(".")
