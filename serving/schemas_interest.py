"""``POST /v1/score/interest``: what users will want next, and the tags that say so."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field

from serving.schemas import FeaturesBlock, Language, ModelBlock, Strict, UserId
from serving.schemas_nbo import Line

__all__ = ["PREFIX", "Consent", "ConsentAnswer", "InterestRequest", "InterestResponse"]

PREFIX = "interest:"  # of the tags that the interest model gives


class InterestExplain(Strict):
    """How much of the why is answered, and in which language."""

    level: Literal["none", "reason_codes"] = "reason_codes"
    lang: Language = "zh"


class InterestRequest(Strict):
    """Users whose next categories and items are wanted."""

    user_ids: list[UserId] = Field(min_length=1, examples=[["u_102938"]])
    categories: int = Field(default=5, ge=0, le=100, description="how many categories per user")
    items: int = Field(default=5, ge=0, le=100, description="how many items per user")
    store_id: Line | None = Field(default=None, description="only items that this store sells")
    explain: InterestExplain = InterestExplain()
    strict: bool = False
    as_of: AwareDatetime | None = None
    request_id: UserId | None = None


class Because(BaseModel):
    """What of the user's own past says so."""

    id: str
    days_ago: float
    text: str


class Need(BaseModel):
    """Where the user stands in the usual interval of this category."""

    days_since: float
    usual_days: float
    satisfied: bool


class Interest(BaseModel):
    """One category or item; ``p`` is the probability of buying it within ``horizon_days``."""

    category_id: str | None
    item_id: str | None = None
    p: float = Field(ge=0, le=1)
    p_interval: tuple[float, float]
    p_calibrated: bool
    score: float
    need: Need | None
    because: Because | None


class InterestTag(BaseModel):
    """An interest worth naming until ``valid_until``; ``DELETE /v1/users/{id}/tags/{tag}`` forgets it."""

    tag: str
    scenario: str
    entity: Literal["user_category"]
    category_id: str
    score: float
    percentile: float = Field(ge=0, le=100)
    valid_until: str
    model_version: str
    text: str | None


class InterestUser(BaseModel):
    """One user's interests, strongest first."""

    user_id: str
    known: bool
    status_reason: Literal["FEATURES_UNAVAILABLE", "PERSONALIZATION_OFF", "UNKNOWN_USER"] | None
    as_of: str | None
    age_s: int | None
    stale: bool
    categories: list[Interest]
    items: list[Interest]
    tags: list[InterestTag]


class InterestResponse(BaseModel):
    """The answer, ``users[i]`` for ``user_ids[i]``."""

    request_id: str
    model: ModelBlock
    features: FeaturesBlock
    horizon_days: float
    users: list[InterestUser]
    timing_ms: dict[str, float]


class Personalization(Strict):
    """Whether what is known of the user may choose for them (PIPL §24)."""

    personalization: Literal["on", "off"]


class PersonalizationAnswer(BaseModel):
    """In force from now on, everywhere."""

    user_id: str
    personalization: Literal["on", "off"]
    at: str


class Consent(Strict):
    """Whether the user agrees to a purpose: a channel that needs consent, or one that an offer names."""

    consent: Literal["given", "withdrawn"]


class ConsentAnswer(BaseModel):
    """In force from the next decision on."""

    user_id: str
    purpose: str
    consent: Literal["given", "withdrawn"]
    at: str


class TagAnswer(BaseModel):
    """Gone from now on, everywhere."""

    user_id: str
    tag: str
    deleted_at: str
