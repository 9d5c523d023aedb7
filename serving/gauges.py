"""What one look tells, taken when Prometheus asks: the release in force, ages, the queue of live events, drift.

A look never fails: what cannot be read is missing, and ``userops_up`` says of which part.
"""

from __future__ import annotations

import json
import platform
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric

from configs.errors import UseropsError
from features import online
from serving.errors.problem import Problem

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["DRIFT_FILE", "VERDICTS", "Gauges"]

#: Where ``userops monitor --json`` leaves its last report for the service to tell of.
DRIFT_FILE = "monitor.json"
VERDICTS = ("quiet", "stale", "drift")


class Gauges:
    """The state of one worker's parts, as Prometheus metrics."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def collect(self) -> Iterator[Metric]:
        """All gauges, read now."""
        up = GaugeMetricFamily("userops_up", "Whether a part can be used", labels=["part"])
        yield _info("userops_build", "What runs", {"version": _version(), "python": platform.python_version()})
        yield from self._release(up)
        yield from self._features(up)
        yield from self._queue(up)
        yield from _drift(self.live.config.home / DRIFT_FILE)
        yield up

    def _release(self, up: GaugeMetricFamily) -> Iterator[Metric]:
        release = self.live.pickup.live
        up.add_metric(["release"], float(release is not None))
        if release is None:
            return
        bundle = release.bundle
        yield _info("userops_release", "The release in force", {"release_id": bundle.release_id})
        created = "When the release in force was made"
        yield _gauge("userops_release_created_timestamp_seconds", created, _instant(bundle.created_at))
        models = InfoMetricFamily("userops_model", "The models in force", labels=["model"])
        held: list[Any] = [*bundle.models.values(), *([] if bundle.interest is None else [bundle.interest])]
        for model in held:
            told = {"version": model.version, "maturity": str(model.meta.get("maturity", ""))}
            models.add_metric([model.name], told)
        yield models

    def _features(self, up: GaugeMetricFamily) -> Iterator[Metric]:
        try:
            noted = online.open_store(self.live.config.online_uri).last_publication(online.VECTOR.view)
        except (UseropsError, sqlite3.Error):
            up.add_metric(["online_store"], 0.0)
            return
        up.add_metric(["online_store"], 1.0)
        if noted is not None:
            what = "The instant up to which the published features know everything"
            yield _gauge("userops_features_as_of_timestamp_seconds", what, float(noted["as_of"]))
        limit = "How old features may be before answers name them stale"
        yield _gauge("userops_features_limit_seconds", limit, self.live.max_age_s)

    def _queue(self, up: GaugeMetricFamily) -> Iterator[Metric]:
        try:
            lag = self.live.log().lag()
        except (UseropsError, Problem, sqlite3.Error):
            up.add_metric(["decision_log"], 0.0)
            return
        up.add_metric(["decision_log"], 1.0)
        now_us = self.live.now().timestamp() * 1e6
        waited = 0.0 if lag.oldest_us is None else max(0.0, (now_us - lag.oldest_us) / 1e6)
        yield _gauge("userops_live_events_waiting", "Live events heard, and not in the features yet", lag.waiting)
        yield _gauge("userops_live_events_oldest_waiting_seconds", "How long the first of them has waited", waited)
        undrained = "Live events that the event store does not hold yet"
        yield _gauge("userops_live_events_undrained", undrained, lag.undrained)


def _drift(path: Path) -> Iterable[Metric]:
    """What the last report says of each model; nothing where there is none, or none of ours."""
    try:
        reports = json.loads(path.read_text(encoding="utf-8"))
        looked = path.stat().st_mtime
        verdict = GaugeMetricFamily("userops_drift", "The verdict of the last look: 1", labels=["model", "verdict"])
        weight = GaugeMetricFamily("userops_drift_weight", "Weight of the features that drifted", labels=["model"])
        for one in reports:
            for name in VERDICTS:
                verdict.add_metric([str(one["model"]), name], float(one["verdict"] == name))
            weight.add_metric([str(one["model"])], float(one["drifted_weight"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
    return [verdict, weight, _gauge("userops_drift_looked_timestamp_seconds", "When it was looked for drift", looked)]


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def _info(name: str, what: str, told: dict[str, Any]) -> Metric:
    family = InfoMetricFamily(name, what)
    family.add_metric([], told)
    return family


def _instant(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _version() -> str:
    try:
        return version("userops")
    except PackageNotFoundError:  # a bento holds the files, not the distribution
        return "0"
