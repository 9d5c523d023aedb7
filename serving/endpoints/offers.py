"""``POST /v1/next-best-offer`` and what is asked of decisions afterwards."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.encode import json_response
from serving.endpoints.body import digest_of, live_of, parse, plain_json
from serving.errors.problem import Problem
from serving.nbo.clock import Stopwatch
from serving.schemas_decision import ExplainRequest, ReplayRequest
from serving.schemas_nbo import MOST_CANDIDATES, NextBestOffer

__all__ = ["ROUTES"]


async def next_best_offer(request: Request) -> Response:
    """``POST /v1/next-best-offer``."""
    asked = parse(await plain_json(request), NextBestOffer)
    try:
        if (asked.user_id is None) == (asked.identity is None):
            what = "exactly one of user_id and identity is wanted"
            raise Problem(400, "invalid-request", what, field="user_id", expected=what)
        if asked.candidates is not None and len(asked.candidates) > MOST_CANDIDATES:
            raise Problem(
                413,
                "too-large",
                "too many candidates in one call",
                field="candidates",
                expected=f"at most {MOST_CANDIDATES}",
                got=len(asked.candidates),
            )
        answered = live_of(request).offers.answer(asked, digest_of(asked))
    except Problem as problem:
        problem.request_id = asked.request_id
        raise
    headers = {} if answered.watch is None else {"server-timing": _server_timing(answered.watch)}
    return Response(answered.content, headers=headers, media_type="application/json")


async def decision(request: Request) -> Response:
    """``GET /v1/decisions/{decision_id}``."""
    return json_response(live_of(request).records.record(request.path_params["decision_id"]))


async def replay(request: Request) -> Response:
    """``POST /v1/decisions/{decision_id}:replay``; another release may have to be loaded, so in a thread."""
    asked = parse(await plain_json(request) or b"{}", ReplayRequest)
    records = live_of(request).records
    return json_response(await asyncio.to_thread(records.replay, request.path_params["decision_id"], asked))


async def explain(request: Request) -> Response:
    """``POST /v1/decisions/{decision_id}:explain``."""
    asked = parse(await plain_json(request) or b"{}", ExplainRequest)
    records = live_of(request).records
    return json_response(await asyncio.to_thread(records.explain, request.path_params["decision_id"], asked.lang))


def _server_timing(watch: Stopwatch) -> str:
    stages = [f"{stage};dur={1e3 * seconds:.3f}" for stage, seconds in watch.seconds.items()]
    return ", ".join([*stages, f"total;dur={1e3 * watch.total:.3f}"])


ROUTES = [
    Route("/v1/next-best-offer", next_best_offer, methods=["POST"]),
    Route("/v1/decisions/{decision_id}:replay", replay, methods=["POST"]),
    Route("/v1/decisions/{decision_id}:explain", explain, methods=["POST"]),
    Route("/v1/decisions/{decision_id}", decision, methods=["GET"]),
]
