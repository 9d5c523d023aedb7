"""``POST /v1/score/value``: what users will spend, which tier they are in, and why."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from serving.schemas import CohortBlock, Explanation, FeaturesBlock, ModelBlock

__all__ = ["Tier", "ValueResponse", "ValueScores"]

Tier = Literal["potential", "core", "dormant"]


class SpendInterval(BaseModel):
    """Between these two lies the spend with probability ``level``."""

    level: float
    low: float
    high: float


class ValueReason(BaseModel):
    """One feature's share, exact (TreeSHAP): of the log-odds of a purchase, or of the log of its amount."""

    part: Literal["purchase", "amount"]
    code: str
    feature: str
    value: float | None
    contribution: float
    unit: Literal["log_odds", "log_amount"]
    direction: Literal["+", "-"]
    text: str


class ValueExplanation(BaseModel):
    """Both factors of expected spend; ``amount`` is exp(its ``raw_score``)."""

    purchase: Explanation
    amount: Explanation


class ValueScore(BaseModel):
    """One head's answer for one user: ``expected`` = ``p`` x ``amount``.

    Where ``status_reason`` says why there is none, ``expected`` is the mean of everybody who bought (unknown users) or
    null (outside the cohort).
    """

    head: str
    horizon_days: float
    expected: float | None = Field(ge=0, description="the mean spend within the horizon, before returns")
    typical: float | None = Field(ge=0, description="the median; 0 for whoever is more likely not to buy")
    interval: SpendInterval | None
    p: float | None = Field(ge=0, le=1, description="the calibrated probability of a purchase within the horizon")
    amount: float | None = Field(ge=0, description="the mean spend of those who buy")
    percentile: float | None = Field(ge=0, le=100)
    judged: bool = Field(description="whether this horizon was judged on what really followed; see the model's card")
    status_reason: Literal["FEATURES_UNAVAILABLE", "OUT_OF_COHORT", "PERSONALIZATION_OFF", "UNKNOWN_USER"] | None
    cohort: CohortBlock | None
    reason_codes: list[ValueReason]
    explanation: ValueExplanation | None


class ValuedUser(BaseModel):
    """One user's forecasts and tier."""

    user_id: str
    known: bool
    status_reason: Literal["FEATURES_UNAVAILABLE", "PERSONALIZATION_OFF", "UNKNOWN_USER"] | None
    as_of: str | None
    age_s: int | None
    stale: bool
    value_tier: Tier | None
    value_tier_text: str | None
    scores: dict[str, ValueScore]


class ValueScores(BaseModel):
    """The value model's part of a profile."""

    model: ModelBlock
    scores: dict[str, ValueScore]
    value_tier: Tier | None
    value_tier_text: str | None


class ValueResponse(BaseModel):
    """The answer, ``users[i]`` for ``user_ids[i]``."""

    request_id: str
    model: ModelBlock
    features: FeaturesBlock
    users: list[ValuedUser]
    timing_ms: dict[str, float]
