"""Traces, where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says who takes them: one span per answer, over OTLP by HTTP.

OpenTelemetry's own variables (``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER``, ``OTEL_EXPORTER_OTLP_HEADERS``) hold.
A caller's ``traceparent`` is continued. Spans carry route, status, request and decision ids and what each stage took;
never a user. Without the variable nothing of OpenTelemetry is imported here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import Scope

    from serving.watch import Told

__all__ = ["Tracer", "open_tracer", "wanted"]


def wanted() -> bool:
    """Whether the environment names somebody who takes spans."""
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def open_tracer() -> Tracer | None:
    """The tracer of this process; None where nobody takes spans."""
    return Tracer() if wanted() else None


class Tracer:
    """Makes spans and sends them in batches from a thread of its own; who cannot be reached keeps nobody waiting."""

    def __init__(self) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace import SpanKind, Status, StatusCode
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ConfigError(
                "traces are wanted, but the package that sends them is missing",
                got=str(error),
                expected="opentelemetry-exporter-otlp-proto-http",
                because="OTEL_EXPORTER_OTLP_ENDPOINT is set",
            ) from None
        # What the environment says of the resource stands over the default name.
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "userops"}
        self.provider = TracerProvider(resource=Resource.create(named))
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self.provider.get_tracer("userops")
        self._context, self._kind = TraceContextTextMapPropagator(), SpanKind.SERVER
        self._failed = Status(StatusCode.ERROR)

    def begin(self, scope: Scope, route: str) -> Any:
        """The span of a request that came in."""
        carried = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return self._tracer.start_span(
            f"{scope['method']} {route}",
            context=self._context.extract(carried),
            kind=self._kind,
            attributes={"http.request.method": scope["method"], "http.route": route},
        )

    def end(self, span: Any, status: int, told: Told) -> None:
        """The answer is out: what is known of it by now."""
        found = {"http.response.status_code": status or None, "userops.request_id": told.request_id}
        found["userops.decision_id"] = told.decision_id
        span.set_attributes({name: value for name, value in found.items() if value is not None})
        span.set_attributes({f"userops.stage.{name}_ms": round(1e3 * took, 3) for name, took in told.stages.items()})
        if status >= 500:
            span.set_status(self._failed)
        span.end()

    def close(self) -> None:
        """Send what is not sent yet."""
        self.provider.shutdown()
