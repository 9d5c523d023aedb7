"""The BentoML service: ``bentoml serve serving.service:UserOps``. No logic of its own.

Scoring endpoints are BentoML's (its clients and its schema know them), the GET routes an app mounted beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import bentoml
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

import configs
from configs.access import who_may_ask
from configs.beside import STARTER
from serving import lean, logs, schemas, traces
from serving.access.gate import Gate
from serving.console.app import PREFIX, problem_response, warm
from serving.encode import json_response
from serving.endpoints.body import parse, plain_json
from serving.errors.middleware import ProblemMiddleware
from serving.errors.problem import Problem
from serving.metrics import metrics
from serving.orphan import end_with_parent
from serving.routes import rest_app
from serving.schemas import ScoreResponse
from serving.watch import Watch

if TYPE_CHECKING:
    from serving.live import Live
    from serving.reader import Reader

CONFIG = configs.load()


class ScoreRequest(bentoml.IODescriptor, schemas.ScoreRequest):  # type: ignore[misc]
    """A score request as BentoML reads it from HTTP."""

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> ScoreRequest | Problem:
        """The request, or why not: BentoML would make a 500 of its own from an exception raised here."""
        try:
            return parse(await plain_json(request), cls)
        except Problem as problem:
            return problem


@bentoml.service(
    name="userops",
    workers=CONFIG.serving.workers,
    http={"host": CONFIG.serving.host, "port": CONFIG.serving.port},
    # The middleware gives up earlier, in our shape. Not more: every request leaves a timer behind for that long.
    traffic={"timeout": 60},
    # BentoML's metrics label every path, so every user id would become a time series; ours are in serving/metrics.py.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    # BentoML's tracing halves the throughput even when nothing is exported; ours is in serving/traces.py.
    tracing={"excluded_urls": ".*"},
)
class UserOps:
    """Scores with reasons."""

    def __init__(self) -> None:
        # Everything heavy is loaded by the workers alone: the parent of `bentoml serve` imports this module too.
        lean.import_lightgbm()
        from serving.live import Live

        self._live: Live = Live(CONFIG, open_reader)
        self._live.start()
        _rest.state.live = self._live
        _rest.state.gate = Gate.of(CONFIG)
        if lean.is_server():
            warm()
        self._watches: list[asyncio.Task[None]] = []

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def before_workers() -> None:
        """Run by the parent of the workers alone."""
        from serving.access.drain import refuse_while_stopping

        refuse_while_stopping()
        os.environ[STARTER] = str(os.getpid())  # a worker takes long to start: by then we may be gone
        logging.getLogger("bentoml.userops").info("asked by %s", who_may_ask(CONFIG))

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def watch_releases(self) -> None:
        """Look for a new release as long as this worker lives, which is as long as its parent does."""
        self._watches.append(asyncio.create_task(self._live.pickup.watch()))
        if lean.is_server():
            self._watches.append(asyncio.create_task(end_with_parent()))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """End what this worker began."""
        for watch in self._watches:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        self._live.close()

    @bentoml.api(route="/v1/score/churn", output_spec=ScoreResponse)  # type: ignore[untyped-decorator]
    async def churn(self, request: ScoreRequest, /) -> Response:
        """Who will fall silent, and within which time: probability, percentile and reasons per user and horizon."""
        return await self._score("churn", request)

    @bentoml.api(route="/v1/score/repurchase", output_spec=ScoreResponse)  # type: ignore[untyped-decorator]
    async def repurchase(self, request: ScoreRequest, /) -> Response:
        """Who will buy again, and when: probability, percentile and reasons per user and horizon."""
        return await self._score("repurchase", request)

    async def __is_ready__(self) -> bool:
        """Whether a release is live and the feature store can be read; the 503 says why not."""
        self._live.ready()
        return True

    async def _score(self, name: str, request: ScoreRequest | Problem) -> Response:
        if isinstance(request, Problem):
            return request.response(request.request_id)
        request_id = request.request_id or uuid4().hex
        try:
            return json_response(await self._live.score(name, request, request_id))
        except Problem as problem:
            return problem.response(request_id)


def open_reader(config: configs.Config) -> Reader:
    """The online side of the feature store of ``config.home``."""
    from features.store import Store

    return Store(config)


def _page(scope: Scope, problem: Problem) -> Response:
    metrics().problem(problem.kind)
    return problem_response(_rest.state.live, scope, problem)


def _admit(scope: Scope) -> None:
    _rest.state.gate.admit(scope)


_rest = rest_app()
_service: Any = UserOps  # the decorator made a bentoml.Service of the class
_service.mount_asgi_app(_rest, path="/", name="rest")
logs.set_up()
_service.add_asgi_middleware(Watch, log=logs.is_json(), tracer=traces.open_tracer)
_service.add_asgi_middleware(
    ProblemMiddleware, max_body_bytes=CONFIG.serving.max_body_bytes, pages={PREFIX: _page}, admit=_admit
)
if lean.is_server():
    from serving.access import protocol

    protocol.install(CONFIG.serving.max_waiting)
