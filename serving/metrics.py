"""A few cheap counters. No user id ever becomes a label: ids in paths are folded into their route."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import Scope

__all__ = ["CONTENT_TYPE_LATEST", "Metrics", "metrics", "render", "route_of"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROUTES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/v1/(next-best-offer|feedback|events|audiences:build)"), r"/v1/\1"),
    (re.compile(r"/v1/score/(churn|repurchase|interest|value)"), r"/v1/score/\1"),
    (re.compile(r"/v1/decisions/[^/]*:(replay|explain)"), r"/v1/decisions/{id}:\1"),
    (re.compile(r"/v1/decisions/[^/]*"), "/v1/decisions/{id}"),
    (re.compile(r"/v1/users/.*/tags/.*", re.DOTALL), "/v1/users/{id}/tags/{tag}"),
    (re.compile(r"/v1/users/.*/personalization", re.DOTALL), "/v1/users/{id}/personalization"),
    (re.compile(r"/v1/users/.*/profile", re.DOTALL), "/v1/users/{id}/profile"),
    (re.compile(r"/v1/models/[^/]*/card"), "/v1/models/{name}/card"),
    (re.compile(r"/(v1/models|livez|healthz|readyz|metrics|docs\.json|schema\.json|)"), r"/\1"),
)


class Metrics:
    """The service's own counters."""

    def __init__(self) -> None:
        self._requests = Counter("userops_requests", "Answers, by route and status", ["route", "status"])
        self._seconds = Histogram("userops_request_seconds", "Time of an answer", ["route"], buckets=_SECONDS)
        self._stage = Histogram("userops_stage_seconds", "Time inside an answer", ["stage"], buckets=_SECONDS)
        self._stages: dict[str, Histogram] = {}
        self._users = Counter("userops_scored_users", "Users scored", ["model", "outcome"])
        self._decisions = Counter("userops_decisions", "Next best offers", ["status", "reason"])
        self._taken = Counter("userops_received_events", "Feedback and live events", ["kind", "outcome"])
        self._releases = Counter("userops_releases", "Releases swapped in or refused", ["outcome"])

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """One answer left."""
        route = route_of(scope["path"])
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """One stage (features, score, explain, log, ...) of an answer is over."""
        if name not in self._stages:
            self._stages[name] = self._stage.labels(name)
        self._stages[name].observe(seconds)

    def scored(self, model: str, known: int, unknown: int, stale: int) -> None:
        """A batch of users was scored; ``stale`` ones are known as well."""
        for outcome, count in (("known", known), ("unknown", unknown), ("stale", stale)):
            if count:
                self._users.labels(model, outcome).inc(count)

    def decided(self, status: str, reason: str | None) -> None:
        """One next best offer was decided, or (``repeated``) told again."""
        self._decisions.labels(status, reason or "").inc()

    def received(self, kind: str, accepted: int, duplicates: int, rejected: int) -> None:
        """A batch of ``feedback`` or ``events`` came in."""
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
            if count:
                self._taken.labels(kind, outcome).inc(count)

    def release(self, outcome: str) -> None:
        """A release was ``swapped`` in or ``refused``."""
        self._releases.labels(outcome).inc()


@cache
def metrics() -> Metrics:
    """The counters of this process; made when first needed, after BentoML has said where workers share them."""
    return Metrics()


def render() -> bytes:
    """What Prometheus reads: the sum over all workers."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    collect: Callable[[CollectorRegistry], object] = MultiProcessCollector
    collect(registry)
    return generate_latest(registry)


def route_of(path: str) -> str:
    """The route of a path, without anything that a caller can vary.

    Examples
    --------
    >>> route_of("/v1/users/u_1/profile"), route_of("/wp-admin"), route_of("/v1/score/churn")
    ('/v1/users/{id}/profile', 'other', '/v1/score/churn')
    """
    for pattern, route in _ROUTES:
        if match := pattern.fullmatch(path):
            return match.expand(route)
    return "other"
