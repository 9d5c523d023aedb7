"""Why this offer: exact contributions of the interest model in sentences, and what of the user's past says so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs import read_yaml
from configs.errors import ConfigError
from configs.history import History
from serving.nbo.scorer import Row
from serving.reasons import Reasons
from serving.scoring.interest.model import InterestModel

__all__ = ["BECAUSE", "InterestReasons", "because", "explained", "full"]

BECAUSE = "BECAUSE_OF"
_IT = {
    "item": {"zh": "该商品", "en": "this item"},
    "category": {"zh": "该品类", "en": "this category"},
}


@dataclass(frozen=True)
class Described:
    """A feature of the interest model and the unit of its value."""

    name: str
    unit: str


class InterestReasons:
    """The sentences of ``configs/reasons_interest.yaml``; a feature that has none is left out of the reasons."""

    def __init__(self, reasons: Reasons, known: frozenset[str]) -> None:
        self._reasons, self.known = reasons, known

    @classmethod
    def load(cls, path: Path) -> InterestReasons:
        """The sentences that ``path`` describes: ``units`` lists the features by unit, ``reasons`` one entry each."""
        content = read_yaml(path)
        units, entries = content.get("units"), content.get("reasons")
        if not isinstance(units, dict) or not isinstance(entries, list):
            raise ConfigError(f"{path} is incomplete", got=sorted(content), expected="units: {...} and reasons: [...]")
        features = [Described(str(name), unit) for unit, names in units.items() for name in names]
        return cls(Reasons(entries, features, str(path)), frozenset(feature.name for feature in features))

    def sentence(self, feature: str, lang: str, head: str, values: dict[str, float | None]) -> tuple[str, str]:
        """Code and text of one feature for one user and one item or category."""
        text = self._reasons.text(feature, lang, values.get)
        return self._reasons.code(feature), text.replace("<it>", _IT[head][lang])


def explained(
    model: InterestModel,
    reasons: InterestReasons,
    row: Any,
    history: History,
    at_us: int,
    *,
    top_n: int,
    lang: str,
    everything: bool,
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """``reason_codes`` and ``explanation`` of one score: the strongest contributions, then its occasion in the past.

    ``row`` is what the scorer kept of it; without one (an unknown target) there is nothing to say.
    """
    if not isinstance(row, Row):
        return [], None
    contributions, explanation = full(model, row)
    values = {one["feature"]: one["value"] for one in contributions}
    told: list[dict[str, Any]] = []
    for one in contributions:
        if len(told) == top_n:
            break
        if one["contribution"] == 0 or one["feature"] not in reasons.known:
            continue
        code, text = reasons.sentence(one["feature"], lang, row.head, values)
        if any(text == before["text"] for before in told):
            continue  # two features that say the same are one reason to a reader
        told.append(
            {
                "code": code,
                **one,
                "unit": "log_odds",
                "direction": "+" if one["contribution"] > 0 else "-",
                "text": text,
            }
        )
    told.extend(_occasion(model, history, at_us, row.code, lang))
    return told, {**explanation, "contributions": contributions} if everything else explanation


def full(model: InterestModel, row: Row) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every feature with its value and exact contribution, strongest first; and what they add up to."""
    phi, base = model.contributions(row.head, row.x[None, :])
    features, own = model.heads[row.head].features, phi[0]
    order = np.argsort(-np.abs(own), kind="stable").tolist()
    contributions = [
        {"feature": features[i], "value": _number(float(row.x[i])), "contribution": float(own[i])} for i in order
    ]
    residual = row.raw - float(base[0]) - float(own.sum())
    explanation = {
        "head": row.head,
        "target": row.text,
        "base_value": float(base[0]),
        "raw_score": row.raw,
        "additivity_residual": residual,
    }
    return contributions, explanation


def because(model: InterestModel, history: History, at_us: int, code: int, lang: str) -> dict[str, Any] | None:
    """What the user did that speaks for an item or category: its id, how many days ago, and a sentence."""
    found = model.because(history, at_us, code)
    if found is None:
        return None
    what, days = found
    whole = math.floor(days)
    if lang == "zh":
        when = "今天" if whole == 0 else f" {whole} 天前"
        text = f"因为{when}的 {what}"
    else:
        when = "today" if whole == 0 else f"{whole} day{'' if whole == 1 else 's'} ago"
        text = f"because of {what}, {when}"
    return {"id": what, "days_ago": days, "text": text}


def _occasion(model: InterestModel, history: History, at_us: int, code: int, lang: str) -> Iterator[dict[str, Any]]:
    found = because(model, history, at_us, code, lang)
    if found is not None:
        yield {
            "code": BECAUSE,
            "feature": None,
            "value": found["days_ago"],
            "contribution": None,
            "unit": None,
            "direction": "+",
            "text": found["text"],
        }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
