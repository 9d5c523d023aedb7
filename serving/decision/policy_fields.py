"""What a policy may say, checked once when a release is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.decision.assignment import PERIODS
from serving.decision.caps import read_cap_sets, read_caps
from serving.decision.exploration import MOST_TOP_K
from serving.decision.fields import Fields, Refused
from serving.decision.offer_fields import Vocabulary, read_when
from serving.decision.policy import OBJECTIVES, Weight

__all__ = ["read_policy"]

_ARBITRATION = (
    *("objective", "alpha", "lever_range", "context_weight_range", "min_expected_value"),
    *("sell_through_other", "default_margin"),
)
_EXPLORATION = ("mode", "epsilon", "max_epsilon", "temperature", "top_k", "floor")
_SECTIONS = (
    *("version", "offers", "lifecycle_states", "value_tiers", "channels", "arbitration", "levers", "context_weights"),
    *("smoothing", "exploration", "suppression", "caps", "cap_sets", "caps_always", "holdout", "experiments", "limits"),
)


def read_policy(content: Any) -> tuple[dict[str, Any], Vocabulary]:
    """The policy as the release keeps it, every default filled in, and the names that offers may use."""
    top = Fields(content, (), _SECTIONS)
    top.required("version", "a text that people know this policy by")
    top.required("channels", "name: {push, contact_cost, needs_consent} lines")
    sets = read_cap_sets(content.get("cap_sets"), ("cap_sets",))
    channels = _channels(content["channels"])
    vocabulary = Vocabulary(
        tuple(channels), tuple(top.texts("lifecycle_states")), tuple(top.texts("value_tiers")), sets
    )
    exploration = _exploration(content.get("exploration"), ("exploration",))
    policy = {
        "version": top.text("version"),
        "channels": channels,
        "arbitration": _arbitration(content.get("arbitration"), ("arbitration",)),
        "levers": {"slow_moving": _section(content, "levers", ("slow_moving",)).number("slow_moving", 0.0)},
        "context_weights": _weights(content.get("context_weights"), vocabulary),
        "smoothing": _smoothing(_section(content, "smoothing", ("p0", "n0", "mature_n"))),
        "exploration": exploration,
        "suppression": _suppression(content),
        "caps": _policy_caps(content.get("caps"), sets),
        "caps_always": top.flag("caps_always"),
        "holdout": _holdout(_section(content, "holdout", ("share", "salt", "period", "scenarios", "treatment"))),
        "experiments": _experiments(content.get("experiments"), exploration["max_epsilon"]),
        "limits": _limits(_section(content, "limits", ("max_candidates", "most_dropped", "answer_ttl_hours"))),
    }
    return policy, vocabulary


def _section(content: Mapping[str, Any], name: str, known: Sequence[str]) -> Fields:
    return Fields({} if content.get(name) is None else content[name], (name,), known)


def _channels(content: Any) -> dict[str, Any]:
    channels = {}
    for name in Fields(content, ("channels",), content if isinstance(content, Mapping) else ()).content:
        one = Fields(content[name] or {}, ("channels", name), ("push", "contact_cost", "needs_consent"))
        cost = one.number("contact_cost", 0.0, low=0.0)
        consent, push = one.flag("needs_consent"), one.flag("push")
        channels[str(name)] = {"push": push, "contact_cost": cost, "needs_consent": consent}
    return channels


def _arbitration(content: Any, keys: tuple[str | int, ...]) -> dict[str, Any]:
    fields = Fields({} if content is None else content, keys, _ARBITRATION)
    return {
        "objective": fields.text("objective", "expected_value", one_of=OBJECTIVES),
        "alpha": fields.number("alpha", 1.0, low=0.0, high=10.0),
        "lever_range": _range(fields, "lever_range", [0.5, 2.0]),
        "context_weight_range": _range(fields, "context_weight_range", [0.0, 5.0]),
        "min_expected_value": fields.number("min_expected_value", 0.0, low=0.0),
        "sell_through_other": fields.number("sell_through_other", 0.1, low=0.0, high=1.0),
        "default_margin": fields.number("default_margin", 1.0, low=0.0, high=1.0),
    }


def _range(fields: Fields, name: str, default: list[float]) -> list[float]:
    value = fields.content.get(name, default)
    numbers = isinstance(value, list) and len(value) == 2 and all(type(one) in (int, float) for one in value)
    if not numbers or not 0.0 <= value[0] <= 1.0 <= value[1] <= 100.0:
        raise fields.refuse(name, "is no range around 1", "[low, high] with 0 <= low <= 1 <= high <= 100")
    return [float(value[0]), float(value[1])]


def _exploration(content: Any, keys: tuple[str | int, ...], most: float | None = None) -> dict[str, Any]:
    fields = Fields({} if content is None else content, keys, _EXPLORATION if most is None else _EXPLORATION[:2])
    largest = fields.number("max_epsilon", 0.1, low=0.0, high=1.0) if most is None else most
    epsilon = fields.number("epsilon", min(0.02, largest or 0.0), low=0.0, high=1.0)
    assert largest is not None
    assert epsilon is not None
    if epsilon > largest:
        raise fields.refuse("epsilon", "is beyond the allowed maximum", f"at most max_epsilon, {largest:g}")
    read = {"mode": fields.text("mode", "epsilon", one_of=("epsilon", "softmax")), "epsilon": epsilon}
    if most is not None:
        return {name: read[name] for name in read if fields.given(name)}
    return {
        **read,
        "max_epsilon": largest,
        "temperature": fields.number("temperature", 0.2, low=0.001, high=100.0),
        "top_k": fields.whole("top_k", 5, low=1, high=MOST_TOP_K),
        "floor": fields.number("floor", 0.001, low=0.0, high=largest),
    }


def _weights(content: Any, known: Vocabulary) -> list[dict[str, Any]]:
    if not isinstance(content, list | None):
        raise Refused(("context_weights",), "must be a list", got=type(content).__name__, expected="[{name, weight}]")
    weights = []
    allowed = {"channels": known.channels, **known._asdict()}
    for place, one in enumerate(content or []):
        fields = Fields(one, ("context_weights", place), Weight._fields)
        fields.required("name", "a text")
        fields.required("weight", "percent to add to the context weight")
        weights.append(
            {
                "name": fields.text("name"),
                "weight": fields.number("weight", low=-100.0, high=1000.0),
                "when": read_when(fields),
                **{name: fields.texts(name, one_of=allowed.get(name)) for name in Weight._fields[3:]},
            }
        )
    return weights


def _smoothing(fields: Fields) -> dict[str, Any]:
    return {
        "p0": fields.number("p0", 0.02, low=0.0, high=1.0),
        "n0": fields.number("n0", 100.0, low=0.0),
        "mature_n": fields.number("mature_n", 1000.0, low=0.0),
    }


def _suppression(content: Mapping[str, Any]) -> dict[str, Any]:
    fields = _section(content, "suppression", ("need_satisfied", "not_interested_days", "neighbour_drop", "fatigue"))
    fatigue = Fields(fields.content.get("fatigue") or {}, ("suppression", "fatigue"), ("event", "days", "cost_each"))
    return {
        "need_satisfied": fields.flag("need_satisfied", True),
        "not_interested_days": fields.number("not_interested_days", 180.0, low=0.0),
        "neighbour_drop": fields.number("neighbour_drop", 0.5, low=0.0, high=1.0),
        "fatigue_event": fatigue.text("event", "impression"),
        "fatigue_days": fatigue.number("days", 7.0, low=0.0, high=93.0),
        "fatigue_cost": fatigue.number("cost_each", 0.0, low=0.0),
    }


def _policy_caps(content: Any, sets: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    caps = read_caps(content, ("caps",), sets)
    for place, cap in enumerate(caps):
        if cap["everyone"]:
            raise Refused(("caps", place), "a global cap belongs to an offer", got=cap["name"], expected="scope: user")
    return caps


def _holdout(fields: Fields) -> dict[str, Any]:
    return {
        "share": fields.number("share", 0.0, low=0.0, high=0.9),
        "salt": fields.text("salt", "holdout"),
        "period": fields.text("period", "month", one_of=PERIODS),
        "scenarios": fields.texts("scenarios"),
        "treatment": fields.text("treatment", "none", one_of=("none", "fallback")),
    }


def _experiments(content: Any, max_epsilon: float) -> list[dict[str, Any]]:
    if not isinstance(content, list | None):
        raise Refused(("experiments",), "must be a list", got=type(content).__name__, expected="[{experiment_id, ...}]")
    read: list[dict[str, Any]] = []
    for place, one in enumerate(content or []):
        keys = ("experiments", place)
        fields = Fields(one, keys, ("experiment_id", "scenarios", "variants"))
        fields.required("experiment_id", "a text, unique among experiments")
        variants = [
            _variant(variant, (*keys, "variants", k), max_epsilon)
            for k, variant in enumerate(one.get("variants") or [])
        ]
        total = sum(variant["share"] for variant in variants)
        if not variants or total > 1.0 + 1e-9:
            raise fields.refuse("variants", "shares must not exceed 1 together", "[{name, share}, ...]")
        if len({variant["name"] for variant in variants}) < len(variants):
            raise fields.refuse("variants", "two variants have one name", "unique names")
        if fields.text("experiment_id") in [other["experiment_id"] for other in read]:
            raise fields.refuse("experiment_id", "duplicate experiment_id", "one experiment per id")
        scenarios = fields.texts("scenarios")
        read.append({"experiment_id": fields.text("experiment_id"), "scenarios": scenarios, "variants": variants})
    return read


def _variant(content: Any, keys: tuple[str | int, ...], max_epsilon: float) -> dict[str, Any]:
    fields = Fields(content, keys, ("name", "share", "arbitration", "exploration"))
    fields.required("name", "a text")
    fields.required("share", "a share of the users, in (0, 1]")
    changed = content.get("arbitration") or {}
    checked = _arbitration(changed, (*keys, "arbitration"))
    if "default_margin" in changed:
        raise Refused(
            (*keys, "arbitration", "default_margin"), "is the same for everybody", expected="no such field here"
        )
    explored = _exploration(content.get("exploration"), (*keys, "exploration"), max_epsilon)
    return {
        "name": fields.text("name"),
        "share": fields.number("share", low=0.0, high=1.0),
        "arbitration": {name: checked[name] for name in changed},
        "exploration": explored,
    }


def _limits(fields: Fields) -> dict[str, Any]:
    return {
        "max_candidates": fields.whole("max_candidates", 200, low=1, high=1000),
        "most_dropped": fields.whole("most_dropped", 1000, low=0, high=100_000),
        "answer_ttl_hours": fields.number("answer_ttl_hours", 72.0, low=0.001),
    }
