"""What each feature of a model means, in words, with its unit, its valid range and what was seen of it in training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from configs import configs_folder, read_yaml
from features.catalog import USER_FEATURES
from serving.scoring.interest.model import FEATURES as PAIR_FEATURES

__all__ = ["features_of_pairs", "features_of_users"]

Text = dict[str, str]
Reference = Mapping[str, Any]

NEVER: Text = {"en": "never absent", "zh": "不会缺失"}
# Of the pairs' features, those that a linear model foresees: they can lie below 0.
SIGNED = ("linear", "linear_rank")
IT: Text = {"en": "it", "zh": "它"}


def features_of_users(reference: Reference) -> list[dict[str, Any]]:
    """The catalogue in its order; ``seen`` are the ends of the values that ``reference.json`` counted.

    Examples
    --------
    >>> first = features_of_users({})[0]
    >>> first["name"], first["unit"], first["absent"]["en"], first["seen"]
    ('days_since_last_purchase', 'days', 'no purchase yet', None)
    """
    return [
        {
            "name": one.name,
            "group": one.group,
            "unit": one.unit,
            "window_days": one.window_days,
            "meaning": dict(one.meaning),
            "absent": NEVER if one.absent == "never null" else _absent(one.name) or {"en": one.absent},
            "low": one.low,
            "high": one.high,
            "seen": _seen(reference, [one.name]),
        }
        for one in USER_FEATURES
    ]


def features_of_pairs(reference: Reference) -> list[dict[str, Any]]:
    """What the interest model knows of a user and an item or a category; ``seen`` is over both."""
    words = read_yaml(configs_folder() / "interest_features.yaml")["features"]
    reasons = read_yaml(configs_folder() / "reasons_interest.yaml")
    unit_of = {name: unit for unit, names in reasons["units"].items() for name in names}
    absent = {one["feature"]: one.get("absent", NEVER) for one in reasons["reasons"]}
    return [
        {
            "name": name,
            "group": words[name]["group"],
            "unit": unit_of[name],
            "window_days": None,
            "meaning": {lang: words[name][lang] for lang in ("en", "zh")},
            "absent": {lang: text.replace("<it>", IT[lang]) for lang, text in absent[name].items()},
            "low": None if name in SIGNED else 0.0,
            "high": 1.0 if unit_of[name] in ("share", "index") else None,
            "seen": _seen(reference, [f"item.{name}", f"category.{name}"]),
        }
        for name in PAIR_FEATURES
    ]


def _seen(reference: Reference, names: list[str]) -> list[float] | None:
    ends = [reference["features"][name]["seen"] for name in names if name in reference.get("features", {})]
    known = [one for one in ends if one[0] is not None]
    return [min(low for low, _ in known), max(high for _, high in known)] if known else None


@cache
def _families() -> list[tuple[re.Pattern[str], Text]]:
    """By the pattern of a name, what a reason says where the value is absent: words for people, in both languages."""
    entries = read_yaml(configs_folder() / "reasons.yaml")["reasons"]
    return [
        (re.compile(re.escape(one["feature"]).replace(r"\{w\}", r"(?P<w>\d+)")), one["absent"])
        for one in entries
        if "absent" in one
    ]


def _absent(name: str) -> Text | None:
    for pattern, text in _families():
        if (found := pattern.fullmatch(name)) is not None:
            window = found.groupdict().get("w", "")
            return {lang: words.replace("{w}", window) for lang, words in text.items()}
    return None
