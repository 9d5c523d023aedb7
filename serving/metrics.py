"""Counters of what happens, a few µs per answer. No user id ever becomes a label: paths are folded into their route.

What is counted is kept in this process and written where all workers share it twice a second, all of a kind at once:
writing each by itself would take most of the time. A worker that is killed takes half a second of counts along.
What only needs looking at (releases, ages, the queue, drift) is read when Prometheus asks: ``serving/gauges.py``.
"""

from __future__ import annotations

import asyncio
import os
import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

__all__ = ["CONTENT_TYPE_LATEST", "MOST_OFFERS", "Metrics", "metrics", "render", "route_of"]

FLUSH_SECONDS = 0.5
MOST_PENDING = 4096  # where nothing flushes them (a command that replays), they flush themselves
MOST_OFFERS = 200  # those further down in offers.yaml, and those that only a request names, are counted together
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_HOUR = 3600.0
_AGES = (60.0, 600.0, _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR, 48 * _HOUR, 72 * _HOUR, 168 * _HOUR)
_PLAIN = frozenset(
    ["/", "/livez", "/healthz", "/readyz", "/metrics", "/docs.json", "/schema.json", "/v1/models"]
    + [f"/v1/{name}" for name in ("next-best-offer", "feedback", "events", "audiences:build")]
    + [f"/v1/score/{name}" for name in ("churn", "repurchase", "interest", "value")]
)
_ROUTES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/v1/decisions/[^/]*:(replay|explain)"), r"/v1/decisions/{id}:\1"),
    (re.compile(r"/v1/decisions/[^/]*"), "/v1/decisions/{id}"),
    (re.compile(r"/v1/users/.*/tags/.*", re.DOTALL), "/v1/users/{id}/tags/{tag}"),
    (re.compile(r"/v1/users/.*/consents/.*", re.DOTALL), "/v1/users/{id}/consents/{purpose}"),
    (re.compile(r"/v1/users/.*/(personalization|profile)", re.DOTALL), r"/v1/users/{id}/\1"),
    (re.compile(r"/v1/models/[^/]*/card"), "/v1/models/{name}/card"),
    (re.compile(r"/console(/.*)?", re.DOTALL), "/console"),
)
_M = TypeVar("_M", Counter, Histogram)


class Labelled(Generic[_M]):
    """One metric, its children at hand: looking one up by its labels costs prometheus_client more than counting."""

    def __init__(self, metric: _M) -> None:
        self._metric: _M = metric
        self._children: dict[tuple[str, ...], _M] = {}

    def __getitem__(self, labels: tuple[str, ...]) -> _M:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child


class Metrics:
    """The service's own counters."""

    def __init__(self) -> None:
        self._requests = Labelled(Counter("userops_requests", "Answers, by route and status", ["route", "status"]))
        seconds = Histogram("userops_request_seconds", "Time of an answer", ["route"], buckets=_SECONDS)
        stage = Histogram("userops_stage_seconds", "Time inside an answer", ["stage"], buckets=_SECONDS)
        self._seconds, self._stage = Labelled(seconds), Labelled(stage)
        self._pending: deque[tuple[Counter | Histogram, float]] = deque()
        self._flushing: asyncio.AbstractEventLoop | None = None
        self._now_in_flight = 0
        self._in_flight = Gauge("userops_requests_in_flight", "Being answered", multiprocess_mode="livesum")
        self._problems = Labelled(Counter("userops_problems", "Errors that callers were told of, by kind", ["kind"]))
        self._shed = Labelled(Counter("userops_shed_requests", "Refused at once for lack of room", ["reason"]))
        for reason in ("queue", "connections", "rate", "scoring", "console"):
            self._shed[(reason,)]  # 0 from the start: what appears with the first burst hides it from rate()
        scored = Counter("userops_scored_users", "Users scored", ["model", "outcome"])
        self._users = Labelled(scored)
        self._age = Histogram("userops_feature_age_seconds", "Age of the oldest vector of an answer", buckets=_AGES)
        self._decisions = Labelled(Counter("userops_decisions", "Next best offers", ["status", "reason"]))
        groups = Counter("userops_decision_groups", "New decisions: policy, explored or holdout", ["group"])
        self._groups = Labelled(groups)
        self._offers = Labelled(Counter("userops_offers", "Offers of new decisions", ["offer", "how"]))
        received = Counter("userops_received_events", "Feedback and live events", ["kind", "outcome"])
        self._taken = Labelled(received)
        self._releases = Labelled(Counter("userops_releases", "Releases swapped in or refused", ["outcome"]))
        refusing = "Workers that refuse the release in force and stay with the one before"
        self._refusing = Gauge("userops_release_refusing_workers", refusing, multiprocess_mode="livesum")

    def begun(self) -> None:
        """A request came in; called, as `answered`, where an event loop runs."""
        self._now_in_flight += 1
        self._flush_soon()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One answer left; status 0: the caller went away before."""
        self._now_in_flight -= 1
        if status:
            self._add(self._requests[route, _TEXT[status]])
            self._add(self._seconds[(route,)], seconds)
        self._flush_soon()

    def stage(self, name: str, seconds: float) -> None:
        """One stage (features, score, explain, log, ...) of an answer is over."""
        self._add(self._stage[(name,)], seconds)

    def problem(self, kind: str) -> None:
        """A caller is told of an error of that kind."""
        self._add(self._problems[(kind,)])

    def shed(self, reason: str) -> None:
        """A request was refused for lack of room; ``reason`` is one of a few words of ours."""
        self._add(self._shed[(reason,)])

    def scored(self, model: str, known: int, unknown: int, stale: int) -> None:
        """A batch of users was scored; ``stale`` ones are known as well."""
        for outcome, count in (("known", known), ("unknown", unknown), ("stale", stale)):
            if count:
                self._add(self._users[model, outcome], count)

    def feature_age(self, seconds: float | None) -> None:
        """The oldest features behind one answer are so old; None where nobody was known."""
        if seconds is not None:
            self._add(self._age, seconds)

    def decided(self, status: str, reason: str | None) -> None:
        """One next best offer was decided, or (``repeated``) told again."""
        self._add(self._decisions[status, reason or ""])

    def offered(self, group: Mapping[str, Any], offers: Iterable[str], how: str, place: Mapping[str, int]) -> None:
        """What a new decision shows, ``decided`` or as ``fallback``; the first offers of the policy are told apart."""
        self._add(self._groups[("holdout" if group["holdout"] else "explored" if group["explored"] else "policy",)])
        for offer in offers:
            self._add(self._offers[offer if place.get(offer, MOST_OFFERS) < MOST_OFFERS else "other", how])

    def received(self, kind: str, accepted: int, duplicates: int, rejected: int) -> None:
        """A batch of ``feedback`` or ``events`` came in."""
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
            if count:
                self._add(self._taken[kind, outcome], count)

    def release(self, outcome: str) -> None:
        """A release was ``swapped`` in or ``refused``."""
        self._add(self._releases[(outcome,)])
        self._refusing.set(outcome == "refused")
        self.flush()

    def flush(self) -> None:
        """Write what was counted to where Prometheus is told of it; any thread may."""
        counted: dict[Counter, float] = {}
        seen: dict[Histogram, list[float]] = {}
        while True:
            try:
                child, amount = self._pending.popleft()
            except IndexError:
                break
            if isinstance(child, Counter):
                counted[child] = counted.get(child, 0.0) + amount
            else:
                seen.setdefault(child, []).append(amount)
        for counter, total in counted.items():
            counter.inc(total)
        for histogram, amounts in seen.items():
            _observe(histogram, amounts)
        self._in_flight.set(self._now_in_flight)

    def _add(self, child: Counter | Histogram, amount: float = 1.0) -> None:
        self._pending.append((child, amount))
        if len(self._pending) > MOST_PENDING:
            self.flush()

    def _flush_soon(self) -> None:
        loop = asyncio.get_running_loop()
        if self._flushing is not loop:  # a loop that ended took its timer along
            self._flushing = loop
            loop.call_later(FLUSH_SECONDS, self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = None
        self.flush()


def _observe(histogram: Any, amounts: Sequence[float]) -> None:
    """What `Histogram.observe` does for each, with one write per bucket."""
    bounds: list[float] = histogram._upper_bounds
    hits: dict[int, int] = {}
    for amount in amounts:
        place = bisect_left(bounds, amount)
        hits[place] = hits.get(place, 0) + 1
    for place, times in hits.items():
        histogram._buckets[place].inc(times)
    histogram._sum.inc(sum(amounts))


_TEXT = {status: str(status) for status in range(1000)}


@cache
def metrics() -> Metrics:
    """The counters of this process; made when first needed, after BentoML has said where workers share them."""
    return Metrics()


class Looks(Protocol):
    """Whatever gives metrics when it is asked."""

    def collect(self) -> Iterable[Metric]:
        """All of them, now."""


def render(*more: Looks) -> bytes:
    """What Prometheus reads: the sum over all workers, and what ``more`` sees."""
    metrics().flush()
    registry = CollectorRegistry()
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        registry.register(REGISTRY)
    else:
        _bury(folder)
        collect: Callable[[CollectorRegistry], object] = MultiProcessCollector
        collect(registry)
    for one in more:
        registry.register(one)
    return generate_latest(registry)


def _bury(folder: str) -> None:
    """Forget what workers that were killed were just doing; what they had counted stays."""
    bury: Callable[[int, str], None] = mark_process_dead
    for name in os.listdir(folder):
        found = re.fullmatch(r"gauge_live\w+_(\d+)\.db", name)
        if found and not os.path.exists(f"/proc/{found[1]}") and os.path.exists("/proc/self"):
            with suppress(FileNotFoundError):  # another worker is asked at the same time
                bury(int(found[1]), folder)


def route_of(path: str) -> str:
    """The route of a path, without anything that a caller can vary.

    Examples
    --------
    >>> route_of("/v1/users/u_1/profile"), route_of("/wp-admin"), route_of("/v1/score/churn")
    ('/v1/users/{id}/profile', 'other', '/v1/score/churn')
    """
    if path in _PLAIN:
        return path
    for pattern, route in _ROUTES:
        if match := pattern.fullmatch(path):
            return match.expand(route)
    return "other"
