"""The rules in force, as the release keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from serving.decision.caps import Cap
from serving.decision.exploration import Explore
from serving.decision.expression import Expression

__all__ = ["Arbitration", "Channel", "Experiment", "Holdout", "Policy", "Suppression", "Weight"]

OBJECTIVES = ("expected_value", "uplift_value", "conversion", "sell_through")


class Arbitration(NamedTuple):
    """How candidates compete; a variant of an experiment may bring its own."""

    objective: str
    alpha: float
    lever_range: tuple[float, float]
    weight_range: tuple[float, float]
    min_expected_value: float
    sell_through_other: float
    explore: Explore


class Weight(NamedTuple):
    """A context weight in percent, added where every condition given holds."""

    name: str
    weight: float
    when: Expression | None
    channels: frozenset[str]
    scenarios: frozenset[str]
    stores: frozenset[str]
    lifecycle_states: frozenset[str]
    value_tiers: frozenset[str]
    categories: frozenset[str]
    items: frozenset[str]


class Channel(NamedTuple):
    """``push`` reaches out by itself, so that silence is an answer; a pull channel has a place that must be filled."""

    push: bool
    contact_cost: float
    needs_consent: bool


class Suppression(NamedTuple):
    """What is not said although it could be."""

    need_satisfied: bool
    not_interested_days: float
    neighbour_drop: float
    fatigue_event: str
    fatigue_days: float
    fatigue_cost: float


class Holdout(NamedTuple):
    """The share of users that is left alone, drawn anew every ``period``."""

    share: float
    salt: str
    period: str
    scenarios: frozenset[str]
    treatment: str


class Experiment(NamedTuple):
    """Shares of the users who see a variant; ``variants`` are (name, share, how its candidates compete)."""

    experiment_id: str
    scenarios: frozenset[str]
    variants: tuple[tuple[str, float, Arbitration], ...]


@dataclass(frozen=True)
class Policy:
    """The rules in force: ``digest`` pins every byte of rules and offers, ``version`` is the name people gave it.

    Every field is explained at the top of ``configs/policy.yaml``.
    """

    version: str
    digest: str
    arbitration: Arbitration
    channels: Mapping[str, Channel]
    weights: tuple[Weight, ...]
    slow_moving: float
    default_margin: float
    smoothing: tuple[float, float, float]
    suppression: Suppression
    caps: tuple[Cap, ...]
    caps_always: bool
    holdout: Holdout
    experiments: tuple[Experiment, ...]
    max_candidates: int
    most_dropped: int
    answer_ttl_us: int
    reads: frozenset[str]

    @classmethod
    def load(cls, content: Mapping[str, Any]) -> Policy:
        """The policy that ``policy.json`` of a release holds, its expressions compiled."""
        arbitration = _arbitration(content["arbitration"], content["exploration"])
        smoothing = content["smoothing"]
        weights = tuple(_weight(weight) for weight in content["context_weights"])
        return cls(
            version=content["version"],
            digest=content["digest"],
            arbitration=arbitration,
            channels={name: Channel(**channel) for name, channel in content["channels"].items()},
            weights=weights,
            slow_moving=content["levers"]["slow_moving"],
            default_margin=content["arbitration"]["default_margin"],
            smoothing=(smoothing["p0"], smoothing["n0"], smoothing["mature_n"]),
            suppression=Suppression(**content["suppression"]),
            caps=tuple(Cap(**cap) for cap in content["caps"]),
            caps_always=content["caps_always"],
            holdout=Holdout(**{**content["holdout"], "scenarios": frozenset(content["holdout"]["scenarios"])}),
            experiments=tuple(_experiment(one, content) for one in content["experiments"]),
            max_candidates=content["limits"]["max_candidates"],
            most_dropped=content["limits"]["most_dropped"],
            answer_ttl_us=int(content["limits"]["answer_ttl_hours"] * 3_600_000_000),
            reads=frozenset(read for weight in weights if weight.when for read in weight.when.reads),
        )


def _arbitration(content: Mapping[str, Any], exploration: Mapping[str, Any]) -> Arbitration:
    return Arbitration(
        objective=content["objective"],
        alpha=content["alpha"],
        lever_range=(content["lever_range"][0], content["lever_range"][1]),
        weight_range=(content["context_weight_range"][0], content["context_weight_range"][1]),
        min_expected_value=content["min_expected_value"],
        sell_through_other=content["sell_through_other"],
        explore=Explore(
            exploration["mode"],
            exploration["epsilon"],
            exploration["temperature"],
            exploration["top_k"],
            exploration["floor"],
            exploration["max_epsilon"],
        ),
    )


def _weight(content: Mapping[str, Any]) -> Weight:
    sets = {name: frozenset(content[name]) for name in Weight._fields[3:]}
    when = Expression.of(content["when"]) if content["when"] else None
    return Weight(content["name"], content["weight"], when, **sets)


def _experiment(content: Mapping[str, Any], policy: Mapping[str, Any]) -> Experiment:
    variants = []
    for variant in content["variants"]:
        arbitration = _arbitration(
            {**policy["arbitration"], **variant["arbitration"]}, {**policy["exploration"], **variant["exploration"]}
        )
        variants.append((variant["name"], variant["share"], arbitration))
    return Experiment(content["experiment_id"], frozenset(content["scenarios"]), tuple(variants))
