"""The question and the answer of ``POST /v1/next-best-offer``: section 1 of the HTTP contract, field by field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints

from serving.schemas import Explain, ModelBlock, Strict, UserId

__all__ = [
    "MOST_CANDIDATES",
    "Attributes",
    "Candidate",
    "Identity",
    "Line",
    "NextBestOffer",
    "NextBestOfferResponse",
    "Objective",
]

MOST_CANDIDATES = 500
MOST_OFFERS = 50

Line = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
Scalar = bool | Whole | Number | Text | None


def _in_order(given: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(given.items())) if len(given) > 1 else given


# One level: rules compare values, they do not walk through trees.
Attributes = Annotated[
    dict[Line, Scalar | Annotated[list[Scalar], Field(max_length=50)]],
    Field(max_length=64, default_factory=dict),
    # In one order, so that the same question has the same digest however its writer orders it.
    AfterValidator(_in_order),
]
Money = Annotated[float, Field(ge=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]
Objective = Literal["expected_value", "uplift_value", "conversion", "sell_through"]
Status = Literal["decided", "fallback", "holdout", "suppressed"]


class Identity(Strict):
    """A person by an id of another system."""

    namespace: Line
    id: Line


class Context(Strict):
    """Where and when the offer would be shown; ``attributes`` are for rules."""

    channel: Line | None = None
    placement: Line | None = None
    scenario: Line | None = None
    store_id: Line | None = None
    device: Line | None = None
    locale: Line | None = None
    attributes: Attributes


class Candidate(Strict):
    """One offer to consider; what is absent is the catalogue's."""

    offer_id: Line
    value: Money | None = None
    cost: Money | None = None
    margin: Share | None = None
    levers: Annotated[
        dict[Line, Annotated[float, Field(ge=-100, le=1000)]],
        Field(max_length=20, default_factory=dict),
        AfterValidator(_in_order),
    ]
    attributes: Attributes


class CandidateSource(Strict):
    """Which part of the catalogue to consider."""

    collection: Line | None = None
    max: int = Field(default=200, ge=1, le=MOST_CANDIDATES)


class Exploration(Strict):
    """How often something else is tried; held within the policy's bounds. ``epsilon`` 0: useless for off-policy use."""

    mode: Literal["epsilon", "softmax"] = "epsilon"
    epsilon: Share | None = None
    temperature: float | None = Field(default=None, gt=0, le=1000)
    top_k: int | None = Field(default=None, ge=1, le=8)
    floor: Share | None = None


class PolicyWishes(Strict):
    """What this call wants of the policy."""

    exploration: Exploration | None = Field(default=None, description="null: as the policy says")
    respect_caps: bool = True
    allow_duplicates: bool = False
    paused_channels: list[Line] = Field(default_factory=list, max_length=50)


class NextBestOffer(Strict):
    """One person, one channel, one moment: which offer is best is the question."""

    request_id: UserId | None = Field(
        default=None, description="repeated within 24 h: the same answer; one is made up when absent"
    )
    user_id: UserId | None = Field(default=None, examples=["u_102938"])
    identity: Identity | None = Field(default=None, description="instead of user_id")
    as_of: AwareDatetime | None = Field(default=None, description="for back-tests: answers, and leaves no trace")
    context: Context = Context(attributes={})
    candidates: list[Candidate] | None = Field(
        default=None, min_length=1, description="null: the server takes them from its catalogue"
    )
    candidate_source: CandidateSource | None = None
    limit: int = Field(default=3, ge=1, le=MOST_OFFERS)
    objective: Objective = "expected_value"
    policy: PolicyWishes = PolicyWishes()
    personalization: Literal["on", "off"] = "on"
    explain: Explain = Explain()
    timeout_ms: int | None = Field(
        default=None, ge=1, le=30_000, description="answers with a fallback rather than later"
    )
    strict: bool = Field(default=False, description="true: an unknown user is a 404; false: decided without a past")


class Group(BaseModel):
    """Which experiment this decision belongs to."""

    holdout: bool
    experiment_id: str | None
    variant: str | None
    explored: bool


class Components(BaseModel):
    """``priority`` is ``propensity ** alpha * context_weight * value * lever``."""

    propensity: float
    context_weight: float
    value: float
    lever: float


class ChannelPriority(BaseModel):
    """How often this channel is answered."""

    channel: str
    p_response: float


class OfferReason(BaseModel):
    """Why this offer; ``feature`` and its exact ``contribution`` where a model's feature is the reason."""

    code: str
    feature: str | None
    value: float | None
    contribution: float | None
    unit: Literal["log_odds"] | None
    direction: Literal["+", "-"] | None
    text: str


class OfferExplanation(BaseModel):
    """``base_value`` + all contributions = raw score, up to ``additivity_residual``."""

    head: str
    target: str = Field(description="the item or category explained: of several the likeliest")
    base_value: float
    additivity_residual: float
    raw_score: float
    contributions: list[dict[str, Any]] | None = None


class ChosenOffer(BaseModel):
    """One offer of the answer."""

    rank: int
    offer_id: str
    p: float | None = Field(ge=0, le=1)
    p_interval: tuple[float, float] | None
    p_calibrated: bool
    maturity: str
    uplift: float | None
    components: Components
    weights: dict[str, float] = Field(description="the parts of context_weight, in percent")
    levers: dict[str, float] = Field(description="the parts of lever, in percent")
    priority: float
    expected_value: float | None = Field(description="of showing it; null: not asked for (conversion)")
    action_probability: float = Field(ge=0, le=1, description="of showing this offer at this rank")
    channel_priority: list[ChannelPriority]
    valid_until: str | None
    reason_codes: list[OfferReason]
    explanation: OfferExplanation | None


class Fallback(BaseModel):
    """What is shown when nothing was decided."""

    offer_id: str
    rule: str


class Filtered(BaseModel):
    """Why not: offers dropped by a rule; ``offer_id`` only with ``explain.level: full``, otherwise ``count``."""

    offer_id: str | None = None
    stage: str
    rule: str
    count: int | None = None


class Funnel(BaseModel):
    """How many candidates were left after each stage."""

    candidates: int
    eligible: int
    after_suppression: int | None = None
    after_caps: int
    scored: int
    worthwhile: int | None = None


class UserState(BaseModel):
    """What is known of the user, as scores of the models in force; null where a model has no answer."""

    lifecycle_state: str | None
    value_tier: str | None
    churn: dict[str, float | None]
    p_repurchase_90d: float | None
    last_events: list[str]


class DecisionFeatures(BaseModel):
    """What was known, and how old it is; ``stale`` names what is older than allowed."""

    service: str
    as_of: str | None
    max_age_s: int | None
    stale: list[str]
    vector_hash: str | None


class NextBestOfferResponse(BaseModel):
    """Offers, or a fallback, or the reason for silence."""

    request_id: str
    decision_id: str
    decided_at: str
    status: Status
    status_reason: str | None
    group: Group
    offers: list[ChosenOffer]
    fallback: Fallback | None
    filtered: list[Filtered]
    funnel: Funnel
    objective: str
    exploration: dict[str, Any]
    notes: list[str]
    user_state: UserState
    model: ModelBlock | None
    policy_version: str | None
    config_digest: str | None
    features: DecisionFeatures
    timing_ms: dict[str, float]
