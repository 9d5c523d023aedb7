"""A recorded decision taken apart: every bid with its parts, every offer that was dropped, by name.

The answer keeps what was asked for; what it left out (which offers a rule dropped, the candidates that lost, margins
and costs) follows from the record and the release that decided, by the code that decided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from configs.history import History
from serving.decision.arbitration import Bid
from serving.decision.decide import decide, fall_back
from serving.decision.inputs import Inputs
from serving.decision.pipeline import Run
from serving.decision.result import Chosen, Decision, Propensity, Target
from serving.log import DecisionRow
from serving.nbo.deciding import FORCED
from serving.nbo.fresh import lines_of
from serving.nbo.reasons import explained
from serving.nbo.rules import OFFERS, Rules
from serving.nbo.scorer import InterestScorer

if TYPE_CHECKING:
    from serving.live import Live, Release

__all__ = ["Anatomy", "Step", "names_of", "steps", "take_apart"]


class Step(NamedTuple):
    """One factor of a priority: its name, its value, and the product up to here."""

    name: str
    value: float
    product: float


@dataclass(frozen=True)
class Anatomy:
    """A decision made again from its record, and what it was made of.

    ``run`` is as it stood before scoring: policy, arbitration in force (``how``), contact cost. ``bids`` holds every
    candidate that was scored, in the order of the record; ``agrees`` says that their priorities are the recorded ones.
    """

    release: Release
    rules: Rules
    inputs: Inputs
    history: History
    run: Run
    bids: tuple[Bid, ...]
    decision: Decision
    agrees: bool

    def reasons(self, chosen: Chosen, live: Live, lang: str, top_n: int = 5) -> tuple[list[dict[str, Any]], Any]:
        """``reason_codes`` and ``explanation`` of an offer that was shown, with every contribution."""
        model = self.release.bundle.interest
        if model is None:
            return [], None
        past = model.past(self.history, self.inputs.at_us)
        row, personal = chosen.propensity.row, self.inputs.personalization
        return explained(
            model, live.interest_reasons, row, past, top_n=top_n, lang=lang, everything=True, personal=personal
        )


class _Noting:
    """A scorer that keeps what it answered."""

    def __init__(self, scorer: InterestScorer) -> None:
        self.scorer = scorer
        self.said: list[Propensity] = []

    def __call__(self, targets: Sequence[Target], /) -> list[Propensity]:
        self.said = self.scorer(targets)
        return self.said


def take_apart(row: DecisionRow, release: Release, rules: Rules) -> Anatomy:
    """The decision made again by the release that made it, nothing of it left out."""
    inputs = dataclasses.replace(Inputs.from_json(row.inputs), explain_level="full")
    policy, catalogue, model = rules.policy, rules.catalogue, release.bundle.interest
    history = lines_of(row.history)
    forced = row.status_reason if row.status_reason in FORCED and row.status != "decided" else None
    run = Run.of(inputs, policy, catalogue)
    bids: list[Bid] = []
    if forced is not None or model is None:
        decision = fall_back(inputs, policy, catalogue, forced or "MODEL_UNAVAILABLE")
    else:
        scorer = _Noting(InterestScorer(model, history, inputs.at_us, None))
        decision = decide(inputs, policy, catalogue, scorer)
        if scorer.said:
            left = zip(run.survivors(), scorer.said, strict=True)
            bids = [run.arbiter.bid(offer, target, factor, said) for (offer, target, factor), said in left]
    recorded = [(one.offer_id, one.p, one.priority) for one in row.candidates]
    agrees = [(bid.offer.offer_id, bid.p[0], bid.priority) for bid in bids] == recorded
    return Anatomy(release, rules, inputs, history, run, tuple(bids), decision, agrees)


def steps(components: dict[str, float], alpha: float) -> list[Step]:
    """The factors of a priority in the order in which they are multiplied; the last product is the priority, exactly.

    Examples
    --------
    >>> parts = {"propensity": 0.5, "context_weight": 1.25, "value": 8.0, "lever": 1.0}
    >>> [step.product for step in steps(parts, 2.0)]
    [0.25, 0.3125, 2.5, 2.5]
    """
    product = components["propensity"] ** alpha
    found = [Step("propensity", components["propensity"], product)]
    for name in ("context_weight", "value", "lever"):
        product = product * components[name]
        found.append(Step(name, components[name], product))
    return found


@lru_cache(maxsize=4)
def _names(offers: bytes, lang: str) -> dict[str, str]:
    import json

    named = ((one["offer_id"], one.get(f"name_{lang}") or one.get("name")) for one in json.loads(offers)["offers"])
    return {offer_id: name for offer_id, name in named if name}


def names_of(release: Release, lang: str = "en") -> dict[str, str]:
    """What offers are called by people, those that have a name: ``name_zh`` where ``lang`` is zh, else ``name``."""
    content = release.bundle.documents.get(OFFERS)
    return _names(content, lang) if content else {}
