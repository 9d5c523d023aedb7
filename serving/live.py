"""What one worker holds while it serves: configuration, reader, the models in force; and the questions it answers."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from configs import Config, configs_folder
from configs.errors import FeatureError, Forgotten, LogError
from features.catalog import NAMES, USER_FEATURES, digest
from serving.access.aside import Aside
from serving.answer import ServedModel, scored_users
from serving.batch import Batch, read_batch
from serving.errors.problem import Problem
from serving.lean import is_server
from serving.log import DecisionLog
from serving.metrics import metrics
from serving.nbo.deciding import warm
from serving.nbo.interest_answer import score_interest
from serving.nbo.orchestrate import Offers
from serving.nbo.reasons import InterestReasons
from serving.nbo.replay import Records
from serving.nbo.rules import Rules
from serving.pickup import Pickup, settle_heap
from serving.profile import profile_of
from serving.reader import Reader
from serving.reasons import Reasons
from serving.schemas import Explain, ScoreRequest
from serving.schemas_interest import InterestRequest
from serving.scoring import Bundle, current
from serving.scoring.value.model import ValueModel
from serving.value import valued_users
from serving.watch import note, note_stage

__all__ = ["Live", "Release"]

_log = logging.getLogger("bentoml.userops")
# Exact reasons cost milliseconds per user and head: beyond so many users the event loop must not wait for them.
_INLINE_EXPLAINED, _INLINE_SCORED = 2, 64
# A log on another machine that is stuck: answers wait for it on the event loop, so not long.
_LOG_SECONDS = 2.0
_MOST_HEAVY = 16  # large requests that may wait, each of up to half a second


@dataclass(frozen=True)
class Release:
    """A verified release; what its first answers would work out is not worked out yet."""

    bundle: Bundle
    models: dict[str, ServedModel]
    rules: Rules | None = None

    @classmethod
    def load(cls, folder: Path, reasons: Reasons) -> Release:
        """The release in ``folder``, held against this process's feature catalogue."""
        bundle = Bundle.load(folder, digest())
        models = {name: ServedModel.of(bundle, name, NAMES, reasons) for name in bundle.models}
        return cls(bundle, models, Rules.of(bundle))

    def interest_block(self) -> dict[str, Any] | None:
        """The ``model`` block of answers of the interest model; None without one."""
        model = self.bundle.interest
        if model is None:
            return None
        kinds = sorted({head.calibrator.kind for head in model.heads.values()})
        aliases = self.bundle.meta.get("aliases", {})
        return {
            "name": model.name,
            "version": model.version,
            "run_id": model.run_id,
            "alias": aliases.get(model.name, self.bundle.meta.get("alias")),
            "digest": model.digest,
            "maturity": model.meta.get("maturity"),
            "calibrator": f"{'+'.join(kinds)}@{model.version}",
            "release_id": self.bundle.release_id,
        }


class Live:
    """One worker's state."""

    def __init__(self, config: Config, open_reader: Callable[[Config], Reader]) -> None:
        self.config = config
        self.max_age_s = timedelta(hours=config.max_feature_age_hours).total_seconds()
        # Where it does not, an old vector still decides, and says so in features.stale.
        self.stale_falls_back = config.serving.stale_features == "fallback"
        self._open_reader = open_reader
        self._reader: Reader | None = None
        self._log_opened: DecisionLog | None = None
        self.reasons = Reasons.load(configs_folder() / "reasons.yaml", USER_FEATURES)
        self.interest_reasons = InterestReasons.load(configs_folder() / "reasons_interest.yaml")
        self.pickup: Pickup[Release] = Pickup(
            config.home / "releases",
            lambda releases: self.load(current(releases)),
            report=metrics().release,
            settle=self._settle,
        )
        # One thread: a large request waits for a large request, never a small one for either.
        self.heavy = Aside("scoring", most=_MOST_HEAVY)
        self.offers = Offers(self)
        self.records = Records(self)

    @property
    def release(self) -> Release:
        """The release in force; without one, a 503 that says why."""
        live = self.pickup.live
        if live is None:
            # Whoever asks /readyz needs no key, and must not learn where our files are.
            refusal = (self.pickup.refusal or "").replace(f"{self.config.home}/", "")
            raise _unavailable("no release can be served", refusal)
        return live

    def deciding(self) -> tuple[Release, Rules]:
        """The release in force and its rules; a release without rules decides nothing."""
        release = self.release
        if release.rules is None:
            raise _unavailable("the release in force holds no policy", "run userops release")
        return release, release.rules

    def model(self, name: str) -> tuple[Release, ServedModel]:
        """The model of that name in the release in force."""
        release = self.release
        if name not in release.models:
            expected = sorted(release.models)
            raise Problem(404, "unknown-model", "the release in force has no such model", expected=expected, got=name)
        return release, release.models[name]

    def load(self, folder: Path) -> Release:
        """The release in ``folder``, verified, and warm: its first answer is as quick as the others."""
        release = Release.load(folder, self.reasons)
        for served in release.models.values():
            served.model.prepare()
        warm(release)
        return release

    def interest(self, asked: InterestRequest, request_id: str) -> dict[str, Any]:
        """The answer to ``POST /v1/score/interest``."""
        return score_interest(self, asked, request_id)

    def check_many(self, user_ids: list[str]) -> None:
        """Refuse more users than one call may name."""
        most = self.config.serving.max_users
        if len(user_ids) > most:
            detail, expected = "too many users in one call", f"at most {most}"
            raise Problem(413, "too-large", detail, field="user_ids", expected=expected, got=len(user_ids))

    def now(self) -> datetime:
        """The present, or the instant at which the clock is held."""
        return self.config.now or datetime.now(UTC)

    def log(self) -> DecisionLog:
        """The decision log, opened when first needed; one that cannot be opened is a 503."""
        if self._log_opened is None:
            with self.logging():
                self._log_opened = DecisionLog.open(self.config.decisions_uri, within_s=_LOG_SECONDS)
        return self._log_opened

    @contextmanager
    def logging(self) -> Iterator[None]:
        """What goes wrong inside with the decision log is a 503: nothing may leave unlogged."""
        try:
            yield
        except Forgotten as error:
            raise Problem(
                410, "forgotten", error.what, expected="somebody whom userops forget has not erased"
            ) from None
        except LogError as error:
            _log.error("the decision log failed: %s", error)
            raise _unavailable("the decision log cannot be used", None) from None  # where it lies is nobody's business

    def reader(self) -> Reader:
        """The online side of the feature store, opened when first needed."""
        reader = self._reader  # once: a release that comes meanwhile may take it away, on another thread
        if reader is None:
            reader = self._reader = self._open_reader(self.config)
        return reader

    def read(self, user_ids: list[str], as_of: datetime | None = None, strict: bool = False) -> Batch:
        """The vectors of the users who let us know them; an unreadable store, or list of wishes, is a 503."""
        try:
            reader = self.reader()
            batch = read_batch(reader, user_ids, now=self.now(), as_of=as_of, max_age_s=self.max_age_s, strict=strict)
        except (FeatureError, sqlite3.Error) as error:
            raise self.unreadable(error) from None
        with self.logging():
            unwilling = self.log().unpersonalised(user_ids)
        return batch.without(unwilling) if unwilling else batch

    def unreadable(self, error: Exception) -> Problem:
        """The 503 for a store that cannot be read, after a line in the log."""
        _log.error("features cannot be read: %s", error)
        return _unavailable("the published features cannot be read", getattr(error, "what", None))

    def start(self) -> None:
        """Load what answers need, so that the first one does not wait: the release, the decision log."""
        self.pickup.start()
        with suppress(Problem):  # said in the log of the service; every answer that needs it tries again
            self.log()

    def ready(self) -> None:
        """Raise a 503 unless a release is live and the feature store and, for decisions, their log can be used."""
        if self.release.rules is not None:
            self.log()
        self.read(["readyz"])

    async def score(self, name: str, request: ScoreRequest, request_id: str) -> dict[str, Any]:
        """The answer to ``POST /v1/score/<name>``."""
        note(request_id=request_id)
        self.check_many(request.user_ids)
        began = perf_counter()
        _, served = self.model(name)
        batch = self.read(request.user_ids, request.as_of, request.strict)
        read = perf_counter()
        users, explaining = await self.scored(served, batch, request.explain)
        done = perf_counter()
        known = int(batch.found.sum())
        features = batch.block(served.feature_service)
        note_stage("features", read - began)
        note_stage("score", done - read - explaining)
        note_stage("explain", explaining)
        metrics().scored(name, known, len(users) - known, len(features["stale"]))
        metrics().feature_age(features["max_age_s"])
        return {
            "request_id": request_id,
            "model": served.block(),
            "features": features,
            "users": users,
            "timing_ms": {
                "features": round(1e3 * (read - began), 3),
                "score": round(1e3 * (done - read - explaining), 3),
                "explain": round(1e3 * explaining, 3),
                "total": round(1e3 * (perf_counter() - began), 3),
            },
        }

    async def scored(self, served: ServedModel, batch: Batch, explain: Explain) -> tuple[list[dict[str, Any]], float]:
        """Scores and the seconds their reasons took; on this thread when that is quick."""
        most = _INLINE_SCORED if explain.level == "none" else _INLINE_EXPLAINED
        answer = valued_users if isinstance(served.model, ValueModel) else scored_users
        if len(batch.user_ids) <= most:
            return answer(served, batch, explain)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.heavy, answer, served, batch, explain)

    async def profile(
        self, user_id: str, explain: Explain, strict: bool, release: Release | None = None
    ) -> dict[str, Any]:
        """The answer to ``GET /v1/users/{id}/profile``.

        ``release`` is whose scores: the one in force, unless a page says all it says of the one that it began with.
        """
        return await profile_of(self, user_id, explain, strict, release or self.release)

    def _settle(self) -> None:
        # A new release may have come with a new home: a reader kept open would go on reading files that are gone.
        self._reader = None
        if is_server():
            settle_heap()

    def close(self) -> None:
        """Let go of the threads."""
        self.heavy.shutdown(wait=True)


def _unavailable(detail: str, reason: str | None) -> Problem:
    what = (reason or "").partition("\n")[0]
    return Problem(503, "unavailable", f"{detail}: {what}" if what else detail, headers={"retry-after": "5"})
