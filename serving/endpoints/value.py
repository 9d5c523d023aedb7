"""``POST /v1/score/value``."""

from __future__ import annotations

from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.encode import json_response
from serving.endpoints.body import live_of, read
from serving.errors.problem import Problem
from serving.schemas import ScoreRequest

__all__ = ["ROUTES"]


async def value(request: Request) -> Response:
    """``POST /v1/score/value``; the question is that of the other scores."""
    asked = await read(request, ScoreRequest)
    request_id = asked.request_id or uuid4().hex
    try:
        return json_response(await live_of(request).score("value", asked, request_id))
    except Problem as problem:
        problem.request_id = request_id
        raise


ROUTES = [Route("/v1/score/value", value, methods=["POST"])]
