"""Decisions that were made: shown as they were written down, decided again, explained in full.

A replay recomputes everything from what the log kept (inputs, vector, history) and the release that decided: scores of
the user-level models, propensities, the decision, its reasons. ``identical`` means that nothing of it differs in a
single bit. With another release, or another policy, it says what that one would have offered.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import to_json

from configs.errors import UseropsError
from configs.history import code
from serving.batch import iso
from serving.decision.inputs import Inputs
from serving.errors.problem import Problem, shown
from serving.log import DecisionRow
from serving.log.values import storable
from serving.nbo.clock import Expectation, Stopwatch
from serving.nbo.deciding import FORCED, REASONS_OMITTED, choose, told
from serving.nbo.fresh import lines_of
from serving.nbo.gather import needs_of
from serving.nbo.rules import Rules, folder_of
from serving.nbo.state import lifecycle_state, user_scores, value_tier
from serving.nbo.tags import PREFIX, own_categories, tag_scores
from serving.schemas_decision import ReplayRequest

if TYPE_CHECKING:
    from serving.live import Live, Release

__all__ = ["Records"]

_MOST_DIFFERENCES = 100
# What an answer says of a decision; the rest of it says when, for whom and how long it took.
_COMPARED = ("status", "status_reason", "group", "offers", "fallback", "filtered", "funnel", "objective", "exploration")


class Records:
    """Answers questions about decisions of the log."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self._named = lru_cache(maxsize=2)(self._load)

    def record(self, decision_id: str) -> dict[str, Any]:
        """The answer to ``GET /v1/decisions/{id}``."""
        row = self.row(decision_id)
        lines = lines_of(row.history)
        return {
            "decision_id": row.decision_id,
            "request_id": row.request_id,
            "user_id": row.user_id,
            "decided_at": iso(row.decided_at_us),
            "status": row.status,
            "status_reason": row.status_reason,
            "release_id": row.release_id,
            "policy_digest": row.policy_digest,
            "response": json.loads(row.response),
            "inputs": json.loads(row.inputs),
            "vector_hash": row.vector_hash,
            "vector": _vector(row).tolist(),
            "history": [
                {name: getattr(lines, name)[place].item() for name in lines.__slots__} for place in range(len(lines))
            ],
            "candidates": [one._asdict() for one in row.candidates],
        }

    def replay(self, decision_id: str, asked: ReplayRequest) -> dict[str, Any]:
        """The answer to ``POST /v1/decisions/{id}:replay``."""
        row = self.row(decision_id)
        release = self._release(row, asked.release, "release")
        ruling = self._release(row, asked.policy, "policy") if asked.policy is not None else release
        if ruling.rules is None:
            raise _missing("policy" if asked.policy is not None else "release", ruling.bundle.release_id)
        same = row.release_id == release.bundle.release_id and row.policy_digest == ruling.rules.policy.digest
        inputs = _inputs(row, release, same)
        block, scores = self._decide(row, inputs, release, ruling.rules, same)
        before = json.loads(row.response)
        was = {name: before.get(name) for name in _COMPARED}
        now = {name: block[name] for name in _COMPARED}
        if same:
            was["scores"], now["scores"] = json.loads(row.inputs)["scores"], scores
            was["candidates"] = [list(one) for one in row.candidates]
            now["candidates"] = block["candidates"]
        differences = list(_differences(was, now))
        return {
            "decision_id": decision_id,
            "kind": "replay" if same else "counterfactual",
            "release_id": release.bundle.release_id,
            "policy_version": ruling.rules.policy.version,
            "identical": not differences,
            "differences": differences[:_MOST_DIFFERENCES],
            "decision": {name: block[name] for name in _COMPARED},
        }

    def explain(self, decision_id: str, lang: str) -> dict[str, Any]:
        """The answer to ``POST /v1/decisions/{id}:explain``: the offers shown, each with all that contributed."""
        row = self.row(decision_id)
        release = self._release(row, None, "release")
        if release.rules is None:
            raise _missing("release", release.bundle.release_id)
        inputs = dataclasses.replace(_inputs(row, release, True), explain_level="full", lang=lang)
        block, _ = self._decide(row, inputs, release, release.rules, True, always=True)
        return {
            "decision_id": decision_id,
            "release_id": release.bundle.release_id,
            "offers": [self._waterfall(offer, lang) for offer in block["offers"] if offer["explanation"]],
        }

    def _decide(
        self, row: DecisionRow, inputs: Inputs, release: Release, rules: Rules, same: bool, always: bool = False
    ) -> tuple[dict[str, Any], dict[str, float | None]]:
        """The block of the answer, as JSON reads it back, with the candidates; and the user-level scores."""
        history = lines_of(row.history)
        forced = row.status_reason if same and row.status_reason in FORCED and not _answered(row) else None
        decision = choose(inputs, release, rules, history, forced, Stopwatch(Expectation(), None))
        reasons = always or not same or json.loads(row.response)["status_reason"] != REASONS_OMITTED
        block = told(inputs, decision, release, history, self.live.interest_reasons, reasons)
        block["candidates"] = [list(one) for one in decision.candidates]
        # Through JSON, because what is compared went through it.
        read: dict[str, Any] = json.loads(to_json(block, inf_nan_mode="null"))
        vector = _vector(row)
        known = inputs.personalization and not bool(np.isnan(vector).all())
        scores = user_scores(release.models, vector if known else None) if inputs.personalization else {}
        return read, scores

    def _waterfall(self, offer: dict[str, Any], lang: str) -> dict[str, Any]:
        explanation = offer["explanation"]
        at = explanation["base_value"]
        bars = []
        for one in explanation["contributions"]:
            bars.append({**one, "start": at, "end": at + one["contribution"]})
            at += one["contribution"]
        return {
            "offer_id": offer["offer_id"],
            "rank": offer["rank"],
            "head": explanation["head"],
            "target": explanation["target"],
            "base_value": explanation["base_value"],
            "raw_score": explanation["raw_score"],
            "additivity_residual": explanation["additivity_residual"],
            "waterfall": bars,
        }

    def row(self, decision_id: str) -> DecisionRow:
        """The decision as the log holds it; one that it does not hold is a 404."""
        log = self.live.log()
        with self.live.logging():
            row = log.decision(decision_id) if storable(decision_id) else None
        if row is None:
            raise Problem(
                404,
                "unknown-decision",
                "the log holds no such decision",
                field="decision_id",
                expected="the decision_id of an answer",
                got=shown(decision_id),
            )
        return row

    def release_of(self, row: DecisionRow) -> Release:
        """The release that decided, loaded if it is not the one in force; a 404 where it is gone."""
        return self._release(row, None, "release")

    def _release(self, row: DecisionRow, name: str | None, field: str) -> Release:
        live = self.live.release
        wanted = row.release_id if name is None else name
        if wanted in ("current", live.bundle.release_id):
            return live
        return self._named(wanted, field)

    def _load(self, name: str, field: str) -> Release:
        folder = folder_of(self.live.config.home / "releases", name)
        if folder is None:
            raise _missing(field, name)
        try:
            return self.live.load(folder)
        except UseropsError as error:
            raise Problem(422, "unusable-release", error.what, field=field, got=shown(name)) from None


def _inputs(row: DecisionRow, release: Release, same: bool) -> Inputs:
    """What the decision saw; for another release, with what that one's models say of the same facts."""
    inputs = Inputs.from_json(row.inputs)
    if same or not inputs.personalization:
        return inputs
    vector = _vector(row)
    read = None if bool(np.isnan(vector).all()) else vector
    scores = user_scores(release.models, read)
    tier = value_tier(release.models, read, scores)
    published = "active" if inputs.lifecycle_state == "at_risk" else inputs.lifecycle_state
    state = lifecycle_state(published, scores)
    needs, tags, model = dict(inputs.needs), dict(inputs.tags), release.bundle.interest
    if model is not None:
        history, at_us = lines_of(row.history), inputs.at_us
        needs |= needs_of(model, history, at_us)
        if len(history):
            # Of what the history holds: categories whose tag the user had deleted are not in it.
            own = set(history.category.tolist()) | {model.category_of(item) for item in history.item.tolist()}
            found = tag_scores(model, history, at_us, own_categories(model, history, at_us), ())
            tags = {tag: p for tag, p in found.items() if code(tag.removeprefix(PREFIX)) in own}
    return dataclasses.replace(inputs, scores=scores, lifecycle_state=state, value_tier=tier, needs=needs, tags=tags)


def _answered(row: DecisionRow) -> bool:
    """Whether the decision showed offers of its own: then its reason is a remark, not why it fell back."""
    return row.status == "decided"


def _vector(row: DecisionRow) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.frombuffer(row.vector, "<f8").astype(np.float64)


def _missing(field: str, got: str) -> Problem:
    return Problem(
        404,
        "unknown-release",
        "there is no such release here, or it holds no policy",
        field=field,
        expected="the id of a folder in releases/, or 'current'",
        got=shown(got),
    )


def _differences(was: Any, now: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """Every leaf at which two JSON values differ."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted(was.keys() | now.keys()):
            yield from _differences(was.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif was != now or type(was) is not type(now):
        yield {"path": path, "was": was, "now": now}
