"""From ``Inputs`` and a release to the decision and its block of the answer: nothing else is looked at.

Both the request and its replay come through here, so a replay with the same release must give the same bits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from configs.errors import ObjectiveUnavailable
from configs.history import History
from serving.decision.decide import decide, fall_back
from serving.decision.inputs import Inputs
from serving.decision.result import Decision, Propensity, Target
from serving.errors.problem import Problem
from serving.nbo.answer import decided_block, offer_block
from serving.nbo.clock import OutOfTime, Stopwatch
from serving.nbo.fresh import NO_HISTORY
from serving.nbo.reasons import InterestReasons, explained, shares_of
from serving.nbo.rules import Rules
from serving.nbo.scorer import InterestScorer
from serving.scoring.interest.model import Scored

if TYPE_CHECKING:
    from serving.live import Release

__all__ = ["FORCED", "REASONS_OMITTED", "choose", "told", "warm"]

#: Why a decision fell back without having been tried: not a matter of its inputs.
FORCED = ("TIMEOUT", "MODEL_UNAVAILABLE", "FEATURES_UNAVAILABLE", "FEATURES_STALE")
REASONS_OMITTED = "REASONS_OMITTED"
_log = logging.getLogger("bentoml.userops")


class _ScoringFailed(Exception):
    """The model could not score: the decision falls back."""


class _TimedScorer:
    """A scorer that gives up when there is no time for it, and counts its own."""

    def __init__(self, scorer: InterestScorer, watch: Stopwatch) -> None:
        self.scorer, self.watch = scorer, watch

    def __call__(self, targets: Sequence[Target], /) -> list[Propensity]:
        """One propensity per target, in their order."""
        if not self.watch.allows("score", "arbitrate", "write"):
            raise OutOfTime
        with self.watch.stage("score"):
            try:
                return self.scorer(targets)
            except Exception as error:  # whatever a model does, the caller gets an offer
                _log.exception("the interest model cannot score")
                raise _ScoringFailed from error


def warm(release: Release) -> None:
    """Let the models do once what they do for every decision: machine code is compiled or loaded at the first call."""
    model = release.bundle.interest
    if model is None:
        return
    model.prepare()
    items = model.statistics["item"].items[:3]
    lines = [(int(item), model.category_of(int(item)), 1, 0, 1.0, 1) for item in items]
    history, at_us = History.of(lines) if lines else NO_HISTORY, 86_400_000_000
    for scored in (model.score_items(history, at_us, items), model.score_categories(history, at_us)):
        model.contributions(scored.head, scored.x[:1])
    for item in items.tolist():
        model.because(history, at_us, item)
    model.candidates(history, at_us, 1, None)  # of no decision, but of the first profile and the first interests


def choose(
    inputs: Inputs,
    release: Release,
    rules: Rules,
    history: History,
    forced: str | None,
    watch: Stopwatch,
    categories: Scored | None = None,
) -> Decision:
    """The decision; ``forced`` names why it must fall back, ``categories`` are scores that were made already."""
    policy, catalogue, model = rules.policy, rules.catalogue, release.bundle.interest
    channel = inputs.context.get("channel")
    if channel is not None and channel not in policy.channels:
        known = sorted(policy.channels)
        raise Problem(
            422,
            "unknown-channel",
            "the policy has no such channel",
            field="context.channel",
            expected=known,
            got=channel,
        )
    if forced is not None or model is None:
        return fall_back(inputs, policy, catalogue, forced or "MODEL_UNAVAILABLE")
    try:
        scorer = InterestScorer(model, history, inputs.at_us, categories)
        return decide(inputs, policy, catalogue, _TimedScorer(scorer, watch))
    except OutOfTime:
        return fall_back(inputs, policy, catalogue, "TIMEOUT")
    except _ScoringFailed:
        return fall_back(inputs, policy, catalogue, "MODEL_UNAVAILABLE")
    except ObjectiveUnavailable as error:
        raise Problem(
            422, "objective-unavailable", error.what, field="objective", expected=error.expected, got=error.got
        ) from None


def told(
    inputs: Inputs, decision: Decision, release: Release, history: History, sentences: InterestReasons, reasons: bool
) -> dict[str, Any]:
    """What the answer says of a decision; ``reasons`` False leaves them out, and says so where they were asked for."""
    model = release.bundle.interest
    wanted = inputs.explain_level != "none" and model is not None and bool(decision.chosen)
    offers = []
    past = model.past(history, inputs.at_us) if wanted and reasons and model is not None else None
    shares: list[Any] = [None] * len(decision.chosen)
    if past is not None and model is not None:
        shares = shares_of(model, [chosen.propensity.row for chosen in decision.chosen])
    for chosen, own in zip(decision.chosen, shares, strict=True):
        why: tuple[list[dict[str, Any]], dict[str, Any] | None] = ([], None)
        if past is not None and model is not None:
            everything = inputs.explain_level == "full"
            why = explained(
                model,
                sentences,
                chosen.propensity.row,
                past,
                top_n=inputs.top_n,
                lang=inputs.lang,
                everything=everything,
                personal=inputs.personalization,
                shares=own,
            )
        offers.append(offer_block(chosen, *why))
    block = {**decided_block(decision, inputs.explain_level), "offers": offers}
    if wanted and not reasons:
        block["status_reason"] = block["status_reason"] or REASONS_OMITTED
    return block
