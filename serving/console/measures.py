"""How each measure of a model is read: its words, which way is better, how many digits say something.

What is not listed here is shown under its own name, last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.console.words import Words
from serving.reasons import closed_up

__all__ = ["MEASURES", "Measure", "against", "best", "in_words", "listed", "measure", "ready", "shown"]


@dataclass(frozen=True)
class Measure:
    """``better`` is "high", "low", "zero" or "" where neither is; ``form`` is how a value is written."""

    code: str
    better: str = ""
    form: str = "3"
    wide: bool = True  # stands in the first table; else in the folded one


MEASURES: Mapping[str, Measure] = {
    one.code: one
    for one in (
        Measure("log_loss", "low", "4"),
        Measure("auroc", "high"),
        Measure("spearman", "high"),
        Measure("capture@10", "high", "%"),
        Measure("mae", "low", "2"),
        Measure("bias", "zero", "+%"),
        Measure("recall@10", "high", "%"),
        Measure("ndcg@10", "high"),
        Measure("lift@10", "high", "x"),
        Measure("lift@20", "high", "x"),
        Measure("ece", "low", "4"),
        Measure("brier", "low", "4"),
        Measure("pr_auc", "high", wide=False),
        Measure("lift@5", "high", "x", wide=False),
        Measure("base_rate", "", "%", wide=False),
        Measure("mean_prediction", "", "%", wide=False),
        Measure("mean_spend", "", "2", wide=False),
        Measure("typical_mae", "low", "2", wide=False),
    )
}


def measure(code: str) -> Measure:
    """The measure of that name."""
    return MEASURES.get(code) or Measure(code, wide=False)


def listed(codes: list[str], first: str) -> list[Measure]:
    """The measures of these names in the order in which they are read, ``first`` before all; differences left out."""
    known = [one for code, one in MEASURES.items() if code in codes]
    other = [Measure(code, wide=False) for code in codes if code not in MEASURES and not code.startswith("vs_")]
    return sorted([*known, *other], key=lambda one: one.code != first)


def shown(one: Measure, value: float | None, money: bool = False) -> str:
    """A value of a measure for reading, ``–`` for none; of amounts, a mean is no share.

    Examples
    --------
    >>> shown(measure("log_loss"), 0.43645), shown(measure("lift@10"), 3.072), shown(measure("bias"), 0.25014)
    ('0.4365', '3.07 ×', '+25.0 %')
    >>> shown(measure("base_rate"), 0.2815), shown(measure("mean_prediction"), 38.2, money=True)
    ('28.1 %', '38.20')
    """
    if value is None or value != value:
        return "–"
    form = "2" if money and one.code in ("mean_prediction", "base_rate") else one.form
    if form == "x":
        return f"{value:.2f} ×"
    if form == "%":
        return f"{100 * value:.1f} %"
    if form == "+%":
        return f"{100 * value:+.1f} %"
    return f"{value:,.{form}f}"


def best(one: Measure, values: Mapping[str, float | None]) -> str | None:
    """Whose value is the best; None where the measure has no better side or nobody has a value.

    Examples
    --------
    >>> best(measure("log_loss"), {"a": 0.5, "b": 0.4, "c": None}), best(measure("bias"), {"a": -0.1, "b": 0.2})
    ('b', 'a')
    """
    there = {name: value for name, value in values.items() if value is not None and value == value}
    if not there or not one.better:
        return None
    if one.better == "high":
        return max(there, key=lambda name: there[name])
    return min(there, key=lambda name: abs(there[name]) if one.better == "zero" else there[name])


def in_words(t: Words, one: Measure) -> str:
    """What a measure is called."""
    key = f"measure.{one.code.replace('@', '_at_')}"
    return t(key) if t.known(key) else one.code


def against(
    metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, float]], code: str
) -> dict[str, Any] | None:
    """A measure beside the best baseline: ``value``, ``ci``, ``baseline`` and ``other``; None where it is not there.

    Whether the difference is sure is not told: the two are of the same users, which their intervals do not know.
    """
    if code not in metrics:
        return None
    one, told = measure(code), metrics[code]
    others = {name: values.get(code) for name, values in baselines.items()}
    name = best(one, others)
    other = None if name is None else others[name]
    return {"measure": one, "value": told["value"], "ci": told.get("ci"), "baseline": name, "other": other}


def ready(t: Words, readiness: Mapping[str, Any] | None) -> str:
    """What training advises, from the difference to the best baseline user by user; baselines by their words."""
    if not readiness:
        return ""
    said, code = t.of(readiness.get("text")), readiness.get("baseline")
    return closed_up(said.replace(code, t.or_code("measure.baseline", code))) if code else said
