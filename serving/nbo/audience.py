"""Whom to reach: the published users most likely to buy something, or to fall silent, who did not say no to it.

Everybody published is scored in parts. From the top down the log is asked what each of them wishes, so that nobody
without personalisation, who opted out, or who forgot or refused just this, is in an audience. The first rows have
reasons.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs.history import unpack
from features.catalog import NAMES, digest
from features.everybody import Part, everybody
from features.online import open_store
from serving.answer import ServedModel, scored_users
from serving.batch import microseconds, read_batch
from serving.decision.result import Target
from serving.errors.problem import Problem, shown
from serving.log import ALL_CHANNELS, UserState
from serving.nbo.aims import Aim, aim_of
from serving.nbo.many import score_many
from serving.nbo.reasons import explained
from serving.nbo.scorer import InterestScorer
from serving.nbo.tags import PREFIX
from serving.schemas import Explain
from serving.schemas_decision import AudienceRequest
from serving.scoring.interest.model import InterestModel

if TYPE_CHECKING:
    from serving.live import Live, Release

__all__ = ["EXPLAINED", "Audience", "build"]

EXPLAINED = 1000  # rows with reasons
REASONS = 3
HEADS = {"churn": "p_inactive_30d", "repurchase": "p_repurchase_90d"}
_PART = 200  # users scored at a time: the event loop waits for one part at most
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Audience:
    """The rows, the likeliest first, and how many users were scored and would do without their wishes.

    ``unreadable`` users are published in a way that nobody can read, so they are in no audience.
    """

    target: dict[str, Any]
    release_id: str
    scored: int
    unreadable: int
    rows: list[dict[str, Any]]


def build(live: Live, asked: AudienceRequest) -> Audience:
    """The audience that is asked for; takes its time, so not on the event loop."""
    release, at_us = live.release, microseconds(live.now())
    goal: _Interest | _Head
    goal = _Interest(live, release, asked, at_us) if asked.goal == "interest" else _Head(live, release, asked)
    ids: list[str] = []
    p: list[Floats] = []
    percentile: list[Floats] = []
    unreadable = 0
    for part in everybody(open_store(live.config.online_uri), len(NAMES), digest(), _PART):
        scores, percentiles = goal.score(part)
        ids += part.user_ids
        p.append(scores)
        percentile.append(percentiles)
        unreadable += part.unreadable
        time.sleep(0)  # let answers through
    scored, place = _sorted(p)
    within = goal.within(ids)
    rows: list[dict[str, Any]] = []
    percentiles = np.concatenate(percentile) if percentile else np.empty(0)
    log = live.log()
    for index in place:
        user_id = ids[index]
        if len(rows) == (asked.top_k or len(ids)) or scored[index] < (asked.threshold or 0.0):
            break
        if not within(user_id):
            continue
        with live.logging():
            state = log.state(user_id, at_us, after_us=at_us)
        if _willing(state, goal.refusals):
            row = {"user_id": user_id, "rank": len(rows) + 1, "p": float(scored[index])}
            rows.append({**row, "percentile": round(float(percentiles[index]), 2), "reasons": []})
    goal.explain(rows[:EXPLAINED])
    known = int(np.isfinite(scored).sum())
    return Audience(goal.target, release.bundle.release_id, known, unreadable, rows)


def _sorted(p: list[Floats]) -> tuple[Floats, Iterator[int]]:
    """All scores, and the places of those that are one, the largest first."""
    scores = np.concatenate(p) if p else np.empty(0)
    order = np.argsort(-scores, kind="stable")
    return scores, (int(index) for index in order if np.isfinite(scores[index]))


def _willing(state: UserState, refusals: frozenset[str]) -> bool:
    """Whether this user may be in an audience about ``refusals``: items, offers, tags that nobody in it refused."""
    if not state.personalization or ALL_CHANNELS in state.opted_out:
        return False
    return not refusals & (state.deleted_tags | state.not_interested.keys())


class _Interest:
    """Who will buy something of an aim."""

    def __init__(self, live: Live, release: Release, asked: AudienceRequest, at_us: int) -> None:
        model = release.bundle.interest
        if model is None:
            expected = sorted(release.models)
            detail = "the release in force has no such model"
            raise Problem(404, "unknown-model", detail, field="goal", expected=expected, got="interest")
        self.live, self.asked, self.at_us = live, asked, at_us
        self.model: InterestModel = model
        self.aim: Aim = aim_of(asked, release, live.offers.memory.shop())
        self.target = self.aim.named
        self.refusals = frozenset(
            {*self.aim.items, *self.aim.categories, *(PREFIX + name for name in self.aim.categories)}
            | ({asked.offer} if asked.offer else set())
        )

    def score(self, part: Part) -> tuple[Floats, Floats]:
        """Probability and percentile of each user."""
        histories = [unpack(flat) for flat in part.histories]
        return score_many(self.model, self.aim.items, self.aim.categories, histories, self.at_us)

    def within(self, ids: list[str]) -> Callable[[str], bool]:
        """Whether a user belongs to the store that is asked for."""
        return _of_store(self.live, self.asked.store)

    def explain(self, rows: list[dict[str, Any]]) -> None:
        """Give the rows their sentences."""
        reader, target = self.live.reader(), Target(self.aim.items, self.aim.categories)
        for row in rows:
            history = unpack(reader.decision_row(row["user_id"]).history)
            propensity = InterestScorer(self.model, history, self.at_us)([target])[0]
            reasons, _ = explained(
                self.model,
                self.live.interest_reasons,
                propensity.row,
                self.model.past(history, self.at_us),
                top_n=REASONS,
                lang=self.asked.lang,
                everything=False,
            )
            row["reasons"] = [reason["text"] for reason in reasons]


class _Head:
    """Who will fall silent, or order again."""

    refusals: frozenset[str] = frozenset()

    def __init__(self, live: Live, release: Release, asked: AudienceRequest) -> None:
        _, self.served = live.model(asked.goal)
        self.live, self.asked = live, asked
        self.head = asked.head or HEADS[asked.goal]
        if self.head not in self.served.model.heads:
            expected = list(self.served.model.heads)
            detail = "the model in force has no such head"
            raise Problem(422, "unknown-head", detail, field="head", expected=expected, got=shown(self.head))
        self.target = {"head": self.head}

    def score(self, part: Part) -> tuple[Floats, Floats]:
        """Probability and percentile of each user, NaN for who is not in the cohort of the head."""
        served: ServedModel = self.served
        x = np.ascontiguousarray(part.values[:, served.columns])
        inside = served.model.in_cohort(x, self.head)
        p, percentile = np.full(len(x), np.nan), np.full(len(x), np.nan)
        if inside.any():
            raw = served.model.raw(x[inside], self.head)
            p[inside] = served.model.heads[self.head].calibrator(raw)
            percentile[inside] = served.model.percentile(raw, self.head)
        return p, percentile

    def within(self, ids: list[str]) -> Callable[[str], bool]:
        """Whether a user belongs to the store that is asked for."""
        return _of_store(self.live, self.asked.store)

    def explain(self, rows: list[dict[str, Any]]) -> None:
        """Give the rows their sentences."""
        if not rows:
            return
        explain = Explain(top_n=REASONS, lang=self.asked.lang)
        batch = read_batch(self.live.reader(), [row["user_id"] for row in rows], now=self.live.now())
        users, _ = scored_users(self.served, batch, explain)
        for row, user in zip(rows, users, strict=True):
            row["reasons"] = [reason["text"] for reason in user["scores"][self.head]["reason_codes"]]


def _of_store(live: Live, store_id: str | None) -> Callable[[str], bool]:
    """Whether a user bought in a store within a year, from the event store; everybody where no store is named."""
    if store_id is None:
        return lambda user_id: True
    from features.buyers import buyers_of_store

    buyers = buyers_of_store(live.config, store_id, live.now())
    return lambda user_id: user_id in buyers
