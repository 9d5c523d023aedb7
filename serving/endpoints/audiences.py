"""``POST /v1/audiences:build``."""

from __future__ import annotations

import asyncio
import io
from time import perf_counter
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from configs.errors import EventsError, FeatureError
from serving.encode import json_response
from serving.endpoints.body import live_of, read
from serving.errors.problem import Problem
from serving.schemas_decision import AudienceRequest

__all__ = ["ROUTES"]

PARQUET = "application/vnd.apache.parquet"


async def audience(request: Request) -> Response:
    """Rows, or a Parquet file; scored off the event loop."""
    asked = await read(request, AudienceRequest)
    request_id = asked.request_id or uuid4().hex
    live = live_of(request)
    if asked.top_k is None and asked.threshold is None:
        expected = "top_k, threshold, or both"
        raise Problem(400, "invalid-request", f"{expected} is wanted", field="top_k", expected=expected)
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(live.heavy, _built, live, asked, request_id)
    except Problem as problem:
        problem.request_id = request_id
        raise


def _built(live: Any, asked: AudienceRequest, request_id: str) -> Response:
    from serving.nbo.audience import build

    began = perf_counter()
    try:
        found = build(live, asked)
    except FeatureError as error:
        raise live.unreadable(error) from None
    except EventsError as error:
        detail = f"who bought in a store stands in the event store: {error.what}"
        raise Problem(422, "no-events", detail, field="store", expected="null, where there is no event store") from None
    if asked.format == "parquet":
        return Response(_parquet(found.rows), media_type=PARQUET)
    return json_response(
        {
            "request_id": request_id,
            "goal": asked.goal,
            "target": found.target,
            "release_id": found.release_id,
            "users_scored": found.scored,
            "users_unreadable": found.unreadable,
            "users_found": len(found.rows),
            "rows": found.rows,
            "timing_ms": {"total": round(1e3 * (perf_counter() - began), 3)},
        }
    )


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, pa.DataType] = {
        "user_id": pa.string(),
        "rank": pa.int32(),
        "p": pa.float64(),
        "percentile": pa.float64(),
        "reasons": pa.list_(pa.string()),
    }
    schema = pa.schema(kinds)
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), stream, compression="zstd")
    return stream.getvalue()


ROUTES = [Route("/v1/audiences:build", audience, methods=["POST"])]
