"""What the service is asked and what it answers: the twin of the HTTP contract, and its OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

__all__ = [
    "Card",
    "Explain",
    "Models",
    "ProblemBody",
    "ScoreRequest",
    "ScoreResponse",
    "Strict",
    "UserId",
]

# One line of text: no control characters, no NUL, not a megabyte.
UserId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Language = Literal["zh", "en"]
Level = Literal["none", "reason_codes", "full"]


class Strict(BaseModel):
    """A question: no field unheard of, no number in a string, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Explain(Strict):
    """How much of the why is answered: none, the ``top_n`` strongest reasons, or also every feature's contribution."""

    level: Level = "reason_codes"
    top_n: int = Field(default=3, ge=1, le=20)
    lang: Language = "zh"


class ScoreRequest(Strict):
    """Users to score; ``users[i]`` of the answer is ``user_ids[i]``, also where an id comes twice."""

    user_ids: list[UserId] = Field(min_length=1, examples=[["u_102938"]])
    explain: Explain = Explain()
    strict: bool = Field(default=False, description="true: an unknown user is a 404; false: the cold-start answer")
    as_of: AwareDatetime | None = Field(
        default=None, description="the instant to answer for, not before the features and not after now; null: now"
    )
    request_id: UserId | None = Field(default=None, description="echoed; one is made up when absent")


class Reason(BaseModel):
    """One feature's share of a score, exact (TreeSHAP), in log-odds."""

    code: str
    feature: str
    value: float | None
    contribution: float
    unit: Literal["log_odds"]
    direction: Literal["+", "-"]
    text: str


class Explanation(BaseModel):
    """``base_value`` + all contributions = ``raw_score``, up to ``additivity_residual``."""

    base_value: float
    raw_score: float
    additivity_residual: float
    contributions: list[dict[str, Any]] | None = Field(default=None, description="full: every feature, strongest first")


class CohortBlock(BaseModel):
    """Whom a head is for."""

    name: str
    meaning: str


class Score(BaseModel):
    """One head's answer for one user; ``p`` is null with ``status_reason`` OUT_OF_COHORT where it has none."""

    head: str
    p: float | None = Field(ge=0, le=1)
    p_calibrated: bool
    percentile: float | None = Field(ge=0, le=100)
    status_reason: Literal["FEATURES_UNAVAILABLE", "OUT_OF_COHORT", "PERSONALIZATION_OFF", "UNKNOWN_USER"] | None
    cohort: CohortBlock | None
    reason_codes: list[Reason]
    explanation: Explanation | None


class NextOrder(BaseModel):
    """The 80 % interval around ``expected_next_order_at``; an end beyond the last horizon is null."""

    level: float
    low_at: str | None
    high_at: str | None
    horizon_days: float
    status_reason: (
        Literal["BEYOND_HORIZON", "FEATURES_UNAVAILABLE", "OUT_OF_COHORT", "PERSONALIZATION_OFF", "UNKNOWN_USER"] | None
    )
    text: str | None


class ScoredUser(BaseModel):
    """One user's scores and the age of what they were made from."""

    user_id: str
    known: bool
    status_reason: Literal["FEATURES_UNAVAILABLE", "PERSONALIZATION_OFF", "UNKNOWN_USER"] | None
    as_of: str | None
    age_s: int | None
    stale: bool
    scores: dict[str, Score]
    expected_next_order_at: str | None = Field(default=None, description="repurchase only: the median")
    expected_next_order: NextOrder | None = None


class ModelBlock(BaseModel):
    """Which model answered."""

    name: str
    version: str
    run_id: str
    alias: str | None
    digest: str
    maturity: str | None
    calibrator: str
    release_id: str


class FeaturesBlock(BaseModel):
    """What the scores were made from: ``as_of`` is the oldest, ``stale`` names the users older than allowed."""

    service: str
    as_of: str | None
    max_age_s: int | None
    stale: list[str]
    vector_hash: str


class ScoreResponse(BaseModel):
    """The answer to a score request."""

    request_id: str
    model: ModelBlock
    features: FeaturesBlock
    users: list[ScoredUser]
    timing_ms: dict[str, float]


class ReleaseBlock(BaseModel):
    """The release in force."""

    release_id: str
    created_at: str
    catalogue_digest: str
    digest: str


class ListedModel(ModelBlock):
    """A model of the release and what it answers."""

    heads: list[str]
    created_at: str


class Models(BaseModel):
    """The models of the release in force."""

    release: ReleaseBlock
    models: list[ListedModel]


class Card(BaseModel):
    """What a model is: its definition, training data, metrics with intervals, calibration, as training wrote them."""

    model: ModelBlock
    release: ReleaseBlock
    card: dict[str, Any]


class ProblemBody(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    expected: Any = None
    got: Any = None
    request_id: str | None = None
