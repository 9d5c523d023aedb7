"""``GET /v1/users/{id}/profile``: everything that is known of one user."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import FeaturesBlock, Language, Level, ModelBlock, NextOrder, Score, UserId
from serving.schemas_value import ValueScores

__all__ = ["ModelScores", "Profile", "ProfileQuery"]


class ProfileQuery(BaseModel):
    """The question of ``GET /v1/users/{id}/profile``, from its path and query string."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: UserId
    level: Level = "reason_codes"
    top_n: int = Field(default=3, ge=1, le=20)
    lang: Language = "zh"
    strict: bool = False


class ModelScores(BaseModel):
    """One model's scores of one user."""

    model: ModelBlock
    scores: dict[str, Score]
    expected_next_order_at: str | None = None
    expected_next_order: NextOrder | None = None


class Profile(BaseModel):
    """What is known of one user; ``profile`` is what was published: state, last events, top categories, value.

    The ``lifecycle_state`` and ``value_tier`` in it are what the models in force say now.
    """

    user_id: str
    known: bool
    status_reason: Literal["PERSONALIZATION_OFF", "UNKNOWN_USER"] | None
    features: FeaturesBlock
    profile: dict[str, Any] | None
    scores: dict[str, ModelScores | ValueScores]
    personalization: Literal["on", "off"]
    interests: dict[str, Any] | None = Field(description="as POST /v1/score/interest; null without a model")
    tags: list[dict[str, Any]] = Field(description="as POST /v1/score/interest")
