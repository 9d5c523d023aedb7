"""What a decision says: what is shown and with which probability, what was dropped, by which rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

__all__ = ["Chosen", "Decision", "Dropped", "Fallback", "Propensity", "Scored", "Scorer", "Target"]


class Target(NamedTuple):
    """What an offer is about: items (those of it that are in stock and not refused) and whole categories."""

    item_ids: tuple[str, ...]
    category_ids: tuple[str, ...]


class Propensity(NamedTuple):
    """P(the user buys something of the target within the horizon), with its interval.

    Plain Python floats. ``n`` is the number of observations behind it (None: plenty, so nothing is smoothed);
    ``uplift`` is P with the offer minus P without, None without an uplift model; ``row`` is whatever the explainer
    needs, untouched here.
    """

    p: float
    low: float
    high: float
    calibrated: bool = True
    n: float | None = None
    uplift: float | None = None
    row: Any = None


class Scorer(Protocol):
    """Scores all targets that survived in one call, in their order.

    With ``inputs.personalization`` off the caller must pass a scorer of base rates (no history of this user).
    A scorer whose propensities carry an uplift says so by an attribute ``uplift = True``.
    """

    def __call__(self, targets: Sequence[Target], /) -> Sequence[Propensity]:
        """One propensity per target, in their order."""
        ...


class Dropped(NamedTuple):
    """Why an offer is not shown; ``events`` is how many events a cap counted, else None."""

    offer_id: str
    stage: str
    rule: str
    events: int | None = None


class Fallback(NamedTuple):
    """What is shown when nothing was decided, and by which rule it was taken."""

    offer_id: str
    rule: str


class Scored(NamedTuple):
    """A candidate that was scored: its propensity as used, and its priority."""

    offer_id: str
    p: float
    priority: float


@dataclass(frozen=True)
class Chosen:
    """One offer that is shown.

    ``priority == components["propensity"] ** alpha * components["context_weight"] * components["value"] *
    components["lever"]``, the same float operations in that order. ``propensity`` is as the scorer gave it; ``p`` and
    ``p_interval`` are smoothed where it is young; ``components["propensity"]`` is ``p``, but 1 under ``uplift_value``.
    ``action_probability`` is P(the policy shows this offer at this rank), see ``exploration.py``.
    ``weights`` and ``levers`` name the parts of the two sums, in percent.
    """

    offer_id: str
    rank: int
    p: float
    p_interval: tuple[float, float]
    propensity: Propensity
    maturity: str
    components: Mapping[str, float]
    priority: float
    expected_value: float
    action_probability: float
    channel_priority: tuple[tuple[str, float], ...]
    valid_until_us: int
    target: Target
    weights: Mapping[str, float] = field(default_factory=dict)
    levers: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """The answer to one question: offers, or a fallback, or silence, always with the reason.

    ``status`` is decided, fallback, holdout or suppressed; ``status_reason`` is None only for an ordinary decided.
    ``group`` holds holdout, experiment_id, variant, explored. ``dropped`` names every offer if
    ``explain_level == "full"`` (of server-side candidates, at most the policy's ``most_dropped``), else it is empty;
    ``dropped_counts`` holds (stage, rule, offers) always. ``funnel`` counts candidates, eligible, after_suppression,
    after_caps, scored, worthwhile. ``usable_for_ope`` is False where some candidate could not be shown.
    ``items_read`` and ``categories_read`` are what was looked up in the assortment (see ``Inputs.narrowed``).
    """

    status: str
    status_reason: str | None
    group: Mapping[str, Any]
    chosen: tuple[Chosen, ...]
    fallback: Fallback | None
    funnel: Mapping[str, int]
    dropped: tuple[Dropped, ...]
    dropped_counts: tuple[tuple[str, str, int], ...]
    candidates: tuple[Scored, ...]
    objective: str
    exploration: Mapping[str, float | str]
    usable_for_ope: bool
    seed: int
    notes: tuple[str, ...] = ()
    items_read: tuple[str, ...] = ()
    categories_read: tuple[str, ...] = ()
