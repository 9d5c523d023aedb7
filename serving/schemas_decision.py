"""What is asked about decisions that were made, and about audiences to be built."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from serving.schemas import Language, Strict, UserId
from serving.schemas_nbo import Line

__all__ = [
    "AudienceRequest",
    "AudienceResponse",
    "DecisionRecord",
    "ExplainRequest",
    "ExplainedDecision",
    "ReplayRequest",
    "ReplayedDecision",
]

MOST_AUDIENCE = 1_000_000


class ReplayRequest(Strict):
    """Which release decides again; nothing given: the one that decided, which must decide the same."""

    release: Line | None = Field(default=None, description="id of a release, or 'current'")
    policy: Line | None = Field(
        default=None, description="id of a release, or 'current', whose policy and offers decide instead"
    )


class ExplainRequest(Strict):
    """In which language the sentences are written."""

    lang: Language = "zh"


class DecisionRecord(BaseModel):
    """Everything that was written down when the decision was made."""

    decision_id: str
    request_id: str
    user_id: str
    decided_at: str
    status: str
    status_reason: str | None
    release_id: str | None
    policy_digest: str | None
    response: dict[str, Any]
    inputs: dict[str, Any]
    vector_hash: str | None
    vector: list[float | None]
    history: list[dict[str, float]]
    candidates: list[dict[str, Any]]


class Difference(BaseModel):
    """Where the second decision departs from the first."""

    path: str
    was: Any
    now: Any


class ReplayedDecision(BaseModel):
    """The same question, decided again."""

    decision_id: str
    kind: Literal["replay", "counterfactual"]
    release_id: str
    policy_version: str | None
    identical: bool
    differences: list[Difference]
    decision: dict[str, Any]


class Bar(BaseModel):
    """One step of the waterfall from the base value to the raw score."""

    feature: str
    value: float | None
    contribution: float
    start: float
    end: float


class ExplainedOffer(BaseModel):
    """One offer of a decision with all that contributed."""

    offer_id: str
    rank: int
    head: str
    target: str | None
    base_value: float
    raw_score: float
    additivity_residual: float
    waterfall: list[Bar]


class ExplainedDecision(BaseModel):
    """All contributions to what a decision showed."""

    decision_id: str
    release_id: str
    offers: list[ExplainedOffer]


class AudienceRequest(Strict):
    """Whom to reach: the ``top_k`` most likely of the published users, or all from ``threshold`` on."""

    goal: Literal["interest", "churn", "repurchase"] = "interest"
    head: Line | None = Field(default=None, description="of the churn or repurchase model; null: its middle horizon")
    category: Line | None = None
    channel: Line | None = Field(default=None, description="a sales channel that is a category of goods (频道)")
    offer: Line | None = None
    item: Line | None = None
    top_k: int | None = Field(default=None, ge=1, le=MOST_AUDIENCE)
    threshold: float | None = Field(default=None, ge=0, le=1, description="least calibrated probability")
    store: Line | None = Field(default=None, description="only users whom this store serves")
    format: Literal["rows", "parquet"] = "rows"
    lang: Language = "zh"
    request_id: UserId | None = None


class AudienceRow(BaseModel):
    """One user of the audience, the most likely first."""

    user_id: str
    rank: int
    p: float
    percentile: float
    reasons: list[str]


class AudienceResponse(BaseModel):
    """The audience, as rows."""

    request_id: str
    goal: str
    target: dict[str, str | None]
    release_id: str
    users_scored: int
    users_unreadable: int = Field(description="published, but damaged or of another catalogue: in no audience")
    users_found: int
    rows: list[AudienceRow]
    timing_ms: dict[str, float]
