"""One decision, as a pure function: the same inputs and the same release give the same answer, bit for bit."""

from __future__ import annotations

from configs.errors import ObjectiveUnavailable
from serving.decision.answers import answer, held_out, nobody, silent
from serving.decision.inputs import Inputs
from serving.decision.offers import Catalogue
from serving.decision.pipeline import Run
from serving.decision.policy import OBJECTIVES, Policy
from serving.decision.result import Decision, Scorer

__all__ = ["decide", "fall_back"]


def decide(inputs: Inputs, policy: Policy, catalogue: Catalogue, score: Scorer) -> Decision:
    """What to show this user now, if anything.

    Raises
    ------
    ObjectiveUnavailable
        ``uplift_value`` was asked for and ``score`` has no uplift: the caller answers 422 on ``objective``.
    """
    run = Run.of(inputs, policy, catalogue)
    if run.how.objective == "uplift_value" and not getattr(score, "uplift", False):
        raise ObjectiveUnavailable(
            "objective uplift_value needs an uplift model, and none is in force",
            got="uplift_value",
            expected=[name for name in OBJECTIVES if name != "uplift_value"],
            because="no experiment has yet shown what offers change",
        )
    gate = run.moment.gate(policy)
    if gate is not None:
        return nobody(run, *gate)
    if run.holdout:
        return held_out(run)
    left = run.survivors()
    if not left:
        return silent(run, run.reason)
    propensities = score([target for _, target, _ in left])
    if len(propensities) != len(left):
        raise ValueError(f"the scorer answered {len(propensities)} of {len(left)} targets")
    bids = [
        run.arbiter.bid(offer, target, factor, propensity)
        for (offer, target, factor), propensity in zip(left, propensities, strict=True)
    ]
    return answer(run, bids)


def fall_back(inputs: Inputs, policy: Policy, catalogue: Catalogue, reason: str) -> Decision:
    """What is shown without scoring anything: after TIMEOUT, MODEL_UNAVAILABLE, FEATURES_STALE."""
    run = Run.of(inputs, policy, catalogue)
    gate = run.moment.gate(policy)
    if gate is not None:
        return nobody(run, *gate)
    return held_out(run) if run.holdout else silent(run, reason)
