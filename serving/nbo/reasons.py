"""Why this offer: exact contributions of the interest model in sentences, and what of the user's past says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import read_yaml
from configs.errors import ConfigError
from serving.nbo.scorer import Row
from serving.reasons import Reasons
from serving.scoring.interest.because import Past
from serving.scoring.interest.model import InterestModel

__all__ = ["BECAUSE", "InterestReasons", "because", "explained", "full", "occasion_text", "shares_of"]

Shares = tuple[NDArray[np.float64], float]
BECAUSE = "BECAUSE_OF"
# What is true of an item or category whoever asks: all that may be said to who wants no personalisation.
_OF_EVERYBODY = frozenset(
    {
        *("popularity_now", "popularity_before", "popularity_last", "buyers_share", "repeat_rate"),
        *("item_gap_days", "item_age_days", "item_basket_size", "item_gap_orders", "item_views"),
    }
)
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

    @property
    def plain(self) -> Reasons:
        """The sentences before ``<it>`` is named."""
        return self._reasons

    @staticmethod
    def named(text: str, lang: str, head: str) -> str:
        """A sentence in which ``<it>`` is named: the item, or the category."""
        return text.replace("<it>", _IT[head][lang])

    def sentence(self, feature: str, lang: str, head: str, value: Callable[[str], float | None]) -> tuple[str, str]:
        """Code and text of one feature for one user and one item or category."""
        text = self._reasons.text(feature, lang, value)
        return self._reasons.code(feature), self.named(text, lang, head)


def explained(
    model: InterestModel,
    reasons: InterestReasons,
    row: Any,
    past: Past,
    *,
    top_n: int,
    lang: str,
    everything: bool,
    personal: bool = True,
    shares: Shares | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """``reason_codes`` and ``explanation`` of one score: the strongest contributions, then its occasion in the past.

    ``row`` is what the scorer kept of it; without one (an unknown target) there is nothing to say. ``personal`` False:
    no sentence is about the user, of whom nothing was looked at. ``shares``: what `shares_of` said of the row.
    """
    if not isinstance(row, Row):
        return [], None
    contributions, explanation = full(model, row, shares)
    values = _values(model, row)
    told: list[dict[str, Any]] = []
    for feature, contribution in contributions:
        if len(told) == top_n:
            break
        if contribution == 0 or feature not in reasons.known or not (personal or feature in _OF_EVERYBODY):
            continue
        code, text = reasons.sentence(feature, lang, row.head, values)
        if any(text == before["text"] for before in told):
            continue  # two features that say the same are one reason to a reader
        told.append(
            {
                "code": code,
                "feature": feature,
                "value": values(feature),
                "contribution": contribution,
                "unit": "log_odds",
                "direction": "+" if contribution > 0 else "-",
                "text": text,
            }
        )
    told.extend(_occasion(model, past, row.code, lang))
    if everything:
        explanation["contributions"] = [
            {"feature": feature, "value": values(feature), "contribution": contribution}
            for feature, contribution in contributions
        ]
    return told, explanation


def shares_of(model: InterestModel, rows: Sequence[Any]) -> list[Shares | None]:
    """The exact contributions to each row and their base value, one question for each head; None for what is no row."""
    found: list[Shares | None] = [None] * len(rows)
    for head in model.heads:
        own = [(place, row.x) for place, row in enumerate(rows) if isinstance(row, Row) and row.head == head]
        if own:
            phi, base = model.contributions(head, np.stack([x for _, x in own]))
            for (place, _), one, value in zip(own, phi, base.tolist(), strict=True):
                found[place] = one, value
    return found


def full(
    model: InterestModel, row: Row, shares: Shares | None = None
) -> tuple[list[tuple[str, float]], dict[str, Any]]:
    """Every feature with its exact contribution, strongest first; and what they add up to."""
    if shares is None:
        (shares,) = shares_of(model, [row])
    assert shares is not None
    own, base = shares
    features, told = model.heads[row.head].features, own.tolist()
    contributions = [(features[i], told[i]) for i in np.argsort(-np.abs(own), kind="stable").tolist()]
    residual = row.raw - base - float(own.sum())
    explanation = {
        "head": row.head,
        "target": row.text,
        "base_value": base,
        "raw_score": row.raw,
        "additivity_residual": residual,
    }
    return contributions, explanation


def because(model: InterestModel, past: Past, code: int, lang: str) -> dict[str, Any] | None:
    """What the user did that speaks for an item or category: its id, how many days ago, and a sentence."""
    found = model.occasion(past, code)
    if found is None:
        return None
    what, days = found
    return {"id": what, "days_ago": days, "text": occasion_text(what, math.floor(days), lang)}


def occasion_text(what: str, days: int, lang: str) -> str:
    """The sentence about an occasion so many whole days ago.

    Examples
    --------
    >>> occasion_text("tea", 1, "en"), occasion_text("tea", 0, "zh")
    ('because of tea, 1 day ago', '因为今天的 tea')
    """
    if lang == "zh":
        when = "今天" if days == 0 else f" {days} 天前"
        return f"因为{when}的 {what}"
    when = "today" if days == 0 else f"{days} day{'' if days == 1 else 's'} ago"
    return f"because of {what}, {when}"


def _occasion(model: InterestModel, past: Past, code: int, lang: str) -> Iterator[dict[str, Any]]:
    found = because(model, past, code, lang)
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


def _values(model: InterestModel, row: Row) -> Callable[[str], float | None]:
    """The value of a feature as scored; None where it is absent or no feature of this head."""
    own = dict(zip(model.heads[row.head].features, row.x.tolist(), strict=True))

    def value(name: str) -> float | None:
        number = own.get(name)
        return None if number is None or math.isnan(number) else number

    return value
