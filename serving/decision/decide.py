"""One decision, as a pure function: the same inputs and the same release give the same answer, bit for bit."""

from __future__ import annotations

from serving.decision.inputs import Inputs
from serving.decision.offers import Catalogue
from serving.decision.policy import Policy
from serving.decision.result import Decision, Scorer

__all__ = ["decide", "fall_back"]


def decide(inputs: Inputs, policy: Policy, catalogue: Catalogue, score: Scorer) -> Decision:
    """What to show this user now, if anything.

    Raises
    ------
    ObjectiveUnavailable
        ``uplift_value`` was asked for and ``score`` has no uplift: the caller answers 422 on ``objective``.
    """
    raise NotImplementedError


def fall_back(inputs: Inputs, policy: Policy, catalogue: Catalogue, reason: str) -> Decision:
    """What is shown without scoring anything: after TIMEOUT, MODEL_UNAVAILABLE, FEATURES_STALE."""
    raise NotImplementedError
