"""``POST /v1/score/interest``."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.encode import json_response
from serving.endpoints.body import live_of, read
from serving.errors.problem import Problem
from serving.schemas_interest import InterestRequest

__all__ = ["ROUTES"]

_INLINE = 2  # for so many users the event loop may wait


async def interest(request: Request) -> Response:
    """``POST /v1/score/interest``."""
    asked = await read(request, InterestRequest)
    live = live_of(request)
    request_id = asked.request_id or uuid4().hex
    try:
        if len(asked.user_ids) <= _INLINE:
            return json_response(live.interest(asked, request_id))
        loop = asyncio.get_running_loop()
        return json_response(await loop.run_in_executor(live.heavy, live.interest, asked, request_id))
    except Problem as problem:
        problem.request_id = request_id
        raise


ROUTES = [Route("/v1/score/interest", interest, methods=["POST"])]
