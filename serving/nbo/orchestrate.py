"""One next best offer: read once, decide purely, explain what is returned, write it down, answer.

Nothing leaves before the log holds it, so a repeated ``request_id`` gets the same bytes, also after a crash. Whatever
fails on the way (no model, stale or unreadable features, no time left) ends in the policy's fallback, which is logged
like any other decision; only without a release, a policy or a log there is no answer (503). A question about the past
(``as_of``) is answered and leaves no trace.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic_core import to_json

from configs.errors import FeatureError
from configs.history import pack
from serving.batch import check_known, iso, microseconds, moment_of, too_new
from serving.decision.inputs import Inputs
from serving.decision.result import Decision
from serving.errors.problem import Problem, shown
from serving.log import DAY_US, DecisionLog, DecisionRow, Logged
from serving.metrics import metrics
from serving.nbo import answer, fresh, reading
from serving.nbo.clock import Expectation, Stopwatch
from serving.nbo.deciding import choose, told
from serving.nbo.gather import Known, inputs_of
from serving.nbo.rules import Rules
from serving.nbo.state import lifecycle_state, user_scores, user_state, value_tier
from serving.nbo.tags import interests_of, own_categories, tag_scores
from serving.schemas_nbo import NextBestOffer
from serving.scoring.interest.model import Scored
from serving.watch import note, note_stage

if TYPE_CHECKING:
    from serving.live import Live, Release

__all__ = ["Answered", "Offers"]

STAGES = ("features", "candidates", "score", "explain", "arbitrate", "log")
_log = logging.getLogger("bentoml.userops")


@dataclass(frozen=True)
class Answered:
    """The bytes of an answer, and what each stage took; None for an answer given before."""

    content: bytes
    watch: Stopwatch | None


class Offers:
    """Decides for one worker."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.expected = Expectation()
        self.memory = reading.Memory(live)

    def answer(self, asked: NextBestOffer, body_digest: str) -> Answered:
        """The answer to ``POST /v1/next-best-offer``; a 409 when its ``request_id`` asked something else before."""
        watch = Stopwatch(self.expected, asked.timeout_ms)
        release, rules = self.live.deciding()
        log = self.live.log()
        now_us = microseconds(self.live.now())
        at_us = moment_of(asked.as_of, self.live.now())
        with self.live.logging(), watch.stage("log"):
            if asked.request_id is not None and asked.as_of is None:
                before = log.request(asked.request_id, now_us - DAY_US)
                if before is not None:
                    return _again(before, body_digest, asked.request_id)
            user_id = _user_id(asked, log)
        known, forced = self._read(asked, release, rules, log, user_id, at_us, watch)
        with watch.stage("candidates"):
            model, categories = release.bundle.interest, None
            if model is not None and len(known.history) and (rules.read_tags or _too_many(asked, rules)):
                categories = own_categories(model, known.history, at_us)
            inputs = self._inputs(asked, release, rules, log, known, at_us, categories)
        with watch.stage("arbitrate"):
            scored = watch.seconds.get("score", 0.0)
            decision = choose(inputs, release, rules, known.history, forced, watch, categories)
        watch.add("arbitrate", scored - watch.seconds.get("score", 0.0))
        with watch.stage("explain"):
            reasons = watch.allows("explain", "write")
            block = told(inputs, decision, release, known.history, self.live.interest_reasons, reasons)
        note(inputs.request_id, inputs.decision_id)
        body = _body(inputs, block, release, rules, known, watch)
        row = _row(inputs, decision, release, rules, known, body_digest, to_json(body, inf_nan_mode="null"))
        if asked.as_of is None:
            with self.live.logging(), watch.stage("write"):
                before = log.record(row)
            if before is not None:
                return _again(before, body_digest, row.request_id)
        watch.close()
        for stage, seconds in watch.seconds.items():
            note_stage(stage, seconds)
        metrics().decided(body["status"], body["status_reason"])
        metrics().feature_age(known.age_s if known.found else None)
        if asked.as_of is None:
            how = "decided" if decision.chosen else "fallback"
            metrics().offered(decision.group, (one.offer_id for one in row.offers), how, rules.catalogue.place)
        return Answered(row.response, watch)

    def _read(
        self,
        asked: NextBestOffer,
        release: Release,
        rules: Rules,
        log: DecisionLog,
        user_id: str,
        at_us: int,
        watch: Stopwatch,
    ) -> tuple[Known, str | None]:
        """What is known of the user, and why the decision must fall back, if it must."""
        forced, row, shop = None, None, None
        with watch.stage("features"):
            try:
                row, shop = self.live.reader().decision_row(user_id), self.memory.shop()
            except (FeatureError, sqlite3.Error) as error:
                _log.error("features cannot be read: %s", error)
                forced = "FEATURES_UNAVAILABLE"
        with self.live.logging(), watch.stage("log"):
            state = log.state(
                user_id,
                at_us,
                after_us=row.as_of_us if row is not None and row.found else 0,
                counted=rules.catalogue.globally_capped,
                since_us=at_us - rules.catalogue.global_days * DAY_US,
            )
        personal = asked.personalization == "on" and state.personalization
        with watch.stage("features"):
            if row is None:
                return reading.nobody(state, personal=personal), forced
            if asked.strict:
                check_known([user_id], [row.found], "user_id")
            # A row refreshed by a live event stands at the end of its second: only a past question is too early.
            if asked.as_of is not None and row.found and row.as_of_us > at_us:
                raise too_new(row.as_of_us, at_us)
            if not personal:
                return reading.nobody(state, personal=False), forced
            known = reading.known(row, state, release, shop, at_us, self.live.max_age_s)
        return known, "FEATURES_STALE" if known.stale and self.live.stale_falls_back else forced

    def _inputs(
        self,
        asked: NextBestOffer,
        release: Release,
        rules: Rules,
        log: DecisionLog,
        known: Known,
        at_us: int,
        categories: Scored | None,
    ) -> Inputs:
        model = release.bundle.interest
        vector = known.vector if known.found else None
        scores = user_scores(release.models, vector)
        tags: dict[str, float] = {}
        interests: dict[str, float] = {}
        if model is not None and categories is not None:
            tags = tag_scores(model, known.history, at_us, categories, known.state.deleted_tags)
            if _too_many(asked, rules):
                interests = interests_of(model, known.history, at_us, categories)
        with self.live.logging():
            responses = self.memory.responses(log, at_us)
        published = None if known.profile is None else known.profile.get("lifecycle_state")
        return inputs_of(
            asked,
            known,
            decision_id=f"d_{at_us // 1000:012x}{secrets.token_hex(8)}",
            request_id=asked.request_id or uuid4().hex,
            at_us=at_us,
            scores=scores,
            lifecycle_state=lifecycle_state(published, scores),
            value_tier=value_tier(release.models, vector, scores),
            tags=tags,
            interests=interests,
            model=model,
            shop=self.memory.kept,
            response_counts=responses,
            target_of=rules.target_of,
        )


def _too_many(asked: NextBestOffer, rules: Rules) -> bool:
    """Whether a rough interest must choose which offers are scored at all."""
    return asked.candidates is None and len(rules.catalogue) > rules.most_candidates(asked)


def _body(
    inputs: Inputs, block: dict[str, Any], release: Release, rules: Rules, known: Known, watch: Stopwatch
) -> dict[str, Any]:
    """The whole answer."""
    published = (known.profile or {}).get("last_events", [])
    last = fresh.last_events(known.state.fresh, published) if known.personal else []
    scores = inputs.scores
    return {
        "request_id": inputs.request_id,
        "decision_id": inputs.decision_id,
        "decided_at": iso(inputs.at_us),
        **block,
        "user_state": user_state(inputs.lifecycle_state, inputs.value_tier, scores, last),
        "model": release.interest_block(),
        "policy_version": rules.policy.version,
        "config_digest": rules.policy.digest,
        "features": {
            "service": "nbo",
            "as_of": iso(known.as_of_us) if known.found else None,
            "max_age_s": known.age_s if known.found else None,
            "stale": [known.user_id] if known.stale else [],
            "vector_hash": known.vector_hash,
        },
        "timing_ms": watch.timing_ms(*STAGES),
    }


def _row(
    inputs: Inputs,
    decision: Decision,
    release: Release,
    rules: Rules,
    known: Known,
    body_digest: str,
    response: bytes,
) -> DecisionRow:
    """What the log keeps: all that a replay needs."""
    channel, placement = inputs.context.get("channel"), inputs.context.get("placement")
    return DecisionRow(
        decision_id=inputs.decision_id,
        request_id=inputs.request_id,
        user_id=inputs.user_id,
        decided_at_us=inputs.at_us,
        status=decision.status,
        status_reason=decision.status_reason,
        body_digest=body_digest,
        release_id=release.bundle.release_id,
        policy_digest=rules.policy.digest,
        vector_hash=known.vector_hash,
        vector=known.vector.astype("<f8").tobytes(),
        history=pack(known.history).astype("<f8").tobytes(),
        inputs=inputs.narrowed(decision.items_read, decision.categories_read).to_json(),
        response=response,
        offers=answer.shown(decision, channel, placement),
        candidates=answer.candidates_of(decision),
    )


def _again(before: Logged, body_digest: str, request_id: str) -> Answered:
    """The answer of before to the same question; another question under its id is a 409."""
    if before.body_digest != body_digest:
        raise Problem(
            409,
            "request-id-reused",
            "this request_id asked something else within 24 hours",
            field="request_id",
            expected="the same body, or another request_id",
            got=shown(request_id),
        )
    note(request_id)
    metrics().decided("repeated", None)
    return Answered(before.response, None)


def _user_id(asked: NextBestOffer, log: DecisionLog) -> str:
    if asked.user_id is not None:
        return asked.user_id
    assert asked.identity is not None
    own = log.resolve(asked.identity.namespace, asked.identity.id)
    if own is None and asked.strict:
        check_known([asked.identity.id], [False], "identity")
    # Without a OneID the identity itself is the person, so that caps and holdouts hold for it all the same.
    return own or f"{asked.identity.namespace}:{asked.identity.id}"
