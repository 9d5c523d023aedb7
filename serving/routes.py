"""Every address but the scoring of users, as one small ASGI app mounted in the service: half of BentoML's cost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from serving.console.app import PREFIX, console_app
from serving.encode import json_response
from serving.endpoints import audiences, interest, offers, received, users, value
from serving.endpoints.body import live_of
from serving.errors.problem import Problem, from_validation
from serving.gauges import Gauges
from serving.metrics import CONTENT_TYPE_LATEST, render
from serving.openapi import document
from serving.schemas import Explain
from serving.schemas_profile import ProfileQuery

if TYPE_CHECKING:
    from serving.access.gate import Gate
    from serving.live import Live
    from serving.scoring import Bundle

__all__ = ["rest_app"]


async def profile(request: Request) -> Response:
    """``GET /v1/users/{user_id}/profile``."""
    given = dict(request.query_params)
    if "user_id" in given or len(given) != len(request.query_params.multi_items()):
        raise Problem(400, "invalid-request", "a query parameter comes twice, or is not one", got=sorted(given))
    try:
        query = ProfileQuery.model_validate({**given, "user_id": request.path_params["user_id"]})
    except ValidationError as error:
        raise from_validation(error) from None
    explain = Explain(level=query.level, top_n=query.top_n, lang=query.lang)
    try:
        return json_response(await live_of(request).profile(query.user_id, explain, query.strict))
    except Problem as problem:
        # Asked of many, this is the first of them; here the address names one.
        problem.field = "user_id" if problem.field == "user_ids[0]" else problem.field
        raise


async def models(request: Request) -> Response:
    """``GET /v1/models``."""
    release = live_of(request).release
    listed = [
        {**served.block(), "heads": list(served.model.heads), "created_at": served.model.meta["created_at"]}
        for served in release.models.values()
    ]
    interest = release.bundle.interest
    if interest is not None:
        own = {"heads": list(interest.heads), "created_at": interest.meta["created_at"]}
        listed.append({**(release.interest_block() or {}), **own})
    return json_response({"release": _release(release.bundle), "models": listed})


async def card(request: Request) -> Response:
    """``GET /v1/models/{name}/card``."""
    live, name = live_of(request), request.path_params["name"]
    interest = live.release.bundle.interest
    if interest is not None and name == interest.name:
        release, block, meta = live.release, live.release.interest_block(), dict(interest.meta)
    else:
        release = live.release
        if name not in release.models:
            expected = sorted([*release.models, *([] if interest is None else [interest.name])])
            raise Problem(404, "unknown-model", "the release in force has no such model", expected=expected, got=name)
        served = release.models[name]
        block, meta = served.block(), dict(served.model.meta)
    # 101 numbers per head that only the percentile needs.
    meta["heads"] = {
        name: {key: content for key, content in head.items() if key not in ("raw_percentiles", "spend_percentiles")}
        for name, head in meta["heads"].items()
    }
    return json_response({"model": block, "release": _release(release.bundle), "card": meta})


async def prometheus(request: Request) -> Response:
    """``GET /metrics``; reading the workers' files is left to a thread."""
    return Response(await asyncio.to_thread(render, Gauges(live_of(request))), media_type=CONTENT_TYPE_LATEST)


async def openapi(request: Request) -> Response:
    """``GET /docs.json``."""
    config = live_of(request).config
    purposes = {name: model.purpose["en"] for name, model in config.models.items()}
    closed = cast("Gate", request.app.state.gate).closed
    return json_response(document(config.serving.max_users, "1", purposes, closed))


def rest_app() -> Starlette:
    """The app; ``app.state.live`` is set by the service before the first request."""
    app = Starlette(
        routes=[
            *offers.ROUTES,
            *received.ROUTES,
            *interest.ROUTES,
            *value.ROUTES,
            *users.ROUTES,
            *audiences.ROUTES,
            Route("/v1/users/{user_id:path}/profile", profile, methods=["GET"]),
            Route("/v1/models", models, methods=["GET"]),
            Route("/v1/models/{name}/card", card, methods=["GET"]),
            Route("/metrics", prometheus, methods=["GET"]),
            Route("/docs.json", openapi, methods=["GET"]),
            Route(PREFIX, lambda request: RedirectResponse(f"{PREFIX}/models")),
            Mount(PREFIX, console_app(lambda: cast("Live", app.state.live), lambda: cast("Gate", app.state.gate))),
        ]
    )
    return app


def _release(bundle: Bundle) -> dict[str, str]:
    return {
        "release_id": bundle.release_id,
        "created_at": bundle.created_at,
        "catalogue_digest": bundle.catalogue_digest,
        "digest": bundle.digest,
    }
