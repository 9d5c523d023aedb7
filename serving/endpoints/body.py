"""The body of a request as the schema that it must be, or the problem with it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from serving.errors.problem import Problem, from_validation, shown

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["digest_of", "live_of", "parse", "plain_json", "read", "request_id_of"]

_T = TypeVar("_T", bound=BaseModel)


def live_of(request: Request) -> Live:
    """What this worker holds; set by the service before the first request."""
    live: Live = request.app.state.live
    return live


async def read(request: Request, schema: type[_T]) -> _T:
    """The body of a request as `schema`."""
    return parse(await plain_json(request), schema)


async def plain_json(request: Request) -> bytes:
    """The bytes of a body that claims to be JSON; anything else is a 415."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type != "application/json" or encoding != "identity":
        got = media_type if encoding == "identity" else f"content-encoding {encoding}"
        detail = "the body must be plain JSON"
        raise Problem(415, "unsupported-media-type", detail, expected="application/json", got=shown(got))
    return await request.body()


def parse(body: bytes, schema: type[_T]) -> _T:
    """What the body says; a 400 names the first field that is wrong."""
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error, request_id_of(body), _given(body)) from None


def _given(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def request_id_of(body: bytes) -> str | None:
    """The id of a request that is wrong in other ways, for its echo."""
    try:
        value = json.loads(body).get("request_id")
    except (ValueError, AttributeError, RecursionError):
        return None
    return value if isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable() else None


def digest_of(asked: BaseModel) -> str:
    """Equal for two requests that ask the same, in whatever order they name it and whatever default they spell out."""
    return "sha256:" + hashlib.sha256(asked.model_dump_json().encode("utf-8")).hexdigest()
