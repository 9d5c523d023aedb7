"""Why this one: the factors of a priority with all their digits, how each came about, and the model's reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from serving.console import charts_decision as charts
from serving.console.asked import Asked
from serving.console.naming import category_said
from serving.console.words import Words
from serving.decision.arbitration import Bid
from serving.nbo.anatomy import Anatomy, steps

__all__ = ["why"]


def why(asked: Asked, offer: dict[str, Any], parts: Anatomy | None) -> dict[str, Any]:
    """What the page says of an offer of the answer; without ``parts`` only what the answer itself holds."""
    t = asked.t
    if parts is None:
        bare = dict.fromkeys(("product", "chart", "told", "worth"))
        return {**bare, "rows": _recorded(t, offer), "priority": offer["priority"]}
    bid = next(one for one in parts.bids if one.offer.offer_id == offer["offer_id"])
    alpha = parts.run.how.alpha
    walked = steps(offer["components"], alpha)
    hows = (_propensity(t, bid, parts), _percents(t, offer["weights"], parts.run.how.weight_range, "no_weights"),
            _value(t, bid, parts), _percents(t, offer["levers"], parts.run.how.lever_range, "no_levers"))  # fmt: skip
    rows = [
        {"name": _name(t, step.name, alpha), "value": repr(step.value), "product": repr(step.product), "how": how}
        for step, how in zip(walked, hows, strict=True)
    ]  # fmt: skip
    return {
        "rows": rows,
        "priority": offer["priority"],
        "product": walked[-1].product,
        "chart": charts.factors(t, [(_name(t, step.name, alpha), step) for step in walked]),
        "told": _told(asked, offer, parts),
        "worth": _worth(t, bid, parts),
    }


def _recorded(t: Words, offer: dict[str, Any]) -> list[dict[str, str]]:
    """The factors as the answer holds them; what was made of them takes the release."""
    names = ("propensity_plain", "context_weight", "value", "lever")
    return [
        {"name": t(f"decision.step.{name}"), "value": repr(offer["components"][name.removesuffix("_plain")]),
         "product": "–", "how": t("decision.value.unknown") if name == "value" else ""}
        for name in names
    ]  # fmt: skip


def _name(t: Words, name: str, alpha: float) -> str:
    if name != "propensity":
        return t(f"decision.step.{name}")
    return t("decision.step.propensity_plain") if alpha == 1.0 else t("decision.step.propensity", alpha=f"{alpha:g}")


def _propensity(t: Words, bid: Bid, parts: Anatomy) -> str:
    if parts.run.how.objective == "uplift_value":
        return t("decision.uplift_propensity")
    if bid.maturity == "mature":
        return t("decision.own")
    p0, n0, _ = parts.rules.policy.smoothing
    prior = p0 if bid.offer.prior_p is None else bid.offer.prior_p
    n = 0.0 if bid.propensity.n is None else bid.propensity.n
    return t("decision.smoothed", n0=f"{n0:g}", prior=repr(prior), n=f"{n:g}", raw=repr(bid.propensity.p))


def _percents(t: Words, percents: Mapping[str, float], bounds: tuple[float, float], none: str) -> str:
    if not percents:
        return t(f"decision.{none}")
    parts = " + ".join(f"{name} {value:g}" for name, value in percents.items())
    return t("decision.percents", parts=parts, low=f"{bounds[0]:g}", high=f"{bounds[1]:g}")


def _value(t: Words, bid: Bid, parts: Anatomy) -> str:
    how = parts.run.how
    if how.objective == "conversion":
        return t("decision.value.conversion")
    if how.objective == "sell_through":
        return t("decision.value.sell_through", other=f"{how.sell_through_other:g}")
    arbiter, shelf = parts.run.arbiter, parts.run.shelf
    worth = arbiter.worth(bid.offer, bid.target)
    margin = arbiter.margin(bid.offer, [shelf.facts(item_id) for item_id in bid.target.item_ids])
    money = {"worth": repr(worth), "margin": repr(margin), "cost": repr(bid.offer.cost)}
    if how.objective == "uplift_value":
        return t("decision.value.uplift", uplift=repr(bid.propensity.uplift), **money)
    return t("decision.value.money", **money)


def _worth(t: Words, bid: Bid, parts: Anatomy) -> dict[str, str] | None:
    """What showing it is expected to bring, and the least that it must."""
    if not math.isfinite(bid.expected_value):
        return None
    how, p = "", repr(bid.p[0])
    if parts.run.how.objective == "expected_value":
        how = t("decision.ev_how", p=p, value=repr(bid.value), contact=repr(parts.run.arbiter.contact_cost))
    minimum = t("decision.ev_min", minimum=f"{parts.run.how.min_expected_value:g}")
    return {"value": repr(bid.expected_value), "how": how, "minimum": minimum}


def _told(asked: Asked, offer: dict[str, Any], parts: Anatomy) -> dict[str, Any] | None:
    """The reasons and the waterfall of one offer; None where the model knows nothing of what it is about."""
    chosen = next(one for one in parts.decision.chosen if one.offer_id == offer["offer_id"])
    codes, explanation = parts.reasons(chosen, asked.live, asked.lang)
    if explanation is None:
        return None
    labels = _labels(asked, explanation)
    return {
        "reasons": codes,
        "target": category_said(asked.t, explanation["target"]),
        "raw": repr(explanation["raw_score"]),
        "residual": repr(explanation["additivity_residual"]),
        "base": repr(explanation["base_value"]),
        "p": repr(chosen.propensity.p),
        "chart": charts.pushes(asked.t, explanation, labels),
        "all": [
            {"name": labels[one["feature"]], "code": one["feature"], "value": one["value"],
             "contribution": repr(one["contribution"])}
            for one in explanation["contributions"]
        ],
    }  # fmt: skip


def _labels(asked: Asked, explanation: dict[str, Any]) -> dict[str, str]:
    """Each feature as its sentence says it for this value; the feature itself where there is no sentence."""
    sentences = asked.live.interest_reasons
    values = {one["feature"]: one["value"] for one in explanation["contributions"]}
    return {
        name: sentences.sentence(name, asked.lang, explanation["head"], values.get)[1]
        if name in sentences.known
        else name
        for name in values
    }
