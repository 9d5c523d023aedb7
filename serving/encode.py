"""JSON out: one encoder for every answer."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

__all__ = ["json_response"]


def json_response(content: Any, status: int = 200) -> Response:
    """JSON that every parser reads: a number that JSON does not have is null."""
    return Response(to_json(content, inf_nan_mode="null"), status, media_type="application/json")
