"""What the pages of users say in words: ages, odds, ranks, what a person did last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from features.catalog import NAMES
from serving.batch import microseconds
from serving.console.naming import category_said
from serving.nbo.reasons import occasion_text
from serving.reasons import closed_up
from serving.schemas import UserId

if TYPE_CHECKING:
    from serving.batch import Batch
    from serving.console.asked import Asked
    from serving.console.words import Words

__all__ = ["age", "because_words", "cards", "happened", "head_words", "is_id", "percentile_words", "probability_words"]

_TENURE, _SILENT = NAMES.index("tenure_days"), NAMES.index("days_since_last_activity")


@cache
def _checks() -> TypeAdapter[str]:
    return TypeAdapter(UserId)


def is_id(text: str) -> bool:
    r"""Whether the API would take the text for a user id.

    Examples
    --------
    >>> is_id("u000123"), is_id("a\x00b"), is_id("x" * 129)
    (True, False, False)
    """
    try:
        _checks().validate_python(text)
    except ValidationError:
        return False
    return True


def age(t: Words, seconds: float) -> str:
    """A length of time in its largest whole unit."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length or (unit == "minutes" and seconds >= length):
            return t(f"user.{unit}", n=int(seconds // length))
    return t("user.moments")


def head_words(asked: Asked, card: Mapping[str, Any] | None, head: str) -> str:
    """What a head answers, as its version's card says it; without a card its name."""
    return asked.t.of(((card or {}).get("heads", {}).get(head) or {}).get("meaning")) or head


def probability_words(t: Words, score: Mapping[str, Any]) -> str:
    """A probability as so many of a hundred; of an expected spend, the two factors."""
    if "expected" in score:
        if score["p"] is None or score["amount"] is None:
            return ""
        return t("user.factors", p=f"{100 * score['p']:.0f}", amount=f"{score['amount']:,.2f}")
    return "" if score["p"] is None else of_hundred(t, score["p"])


def of_hundred(t: Words, p: float) -> str:
    """How many of a hundred."""
    if p < 0.01:
        return t("user.below_one")
    return t("user.above_99") if p > 0.99 else t("user.of_hundred", n=round(100 * p))


def percentile_words(t: Words, score: Mapping[str, Any]) -> str:
    """Where the score stands among the users that the version was calibrated on."""
    # Not above all: the user may be one of them.
    return "" if score["percentile"] is None else t("user.above", n=min(math.floor(score["percentile"]), 99))


def cards(t: Words, told: Mapping[str, Any], batch: Batch) -> list[tuple[str, str, str]]:
    """The head line: (what, value in words, small print)."""
    profile, vector = told["profile"] or {}, batch.values[0].tolist()
    state, tier = profile.get("lifecycle_state"), profile.get("value_tier")
    silent, tenure = vector[_SILENT], vector[_TENURE]
    return [
        (
            t("user.lifecycle"),
            t.or_code("user.state", state) if state else "–",
            "" if math.isnan(silent) else t("user.silent", age=age(t, 86_400 * silent)),
        ),
        (
            t("user.tier"),
            t.or_code("user.tiers", tier) if tier else "–",
            t.or_code("user.tier_means", tier) if tier else "",
        ),
        (
            t("user.tenure"),
            "–" if math.isnan(tenure) else age(t, 86_400 * tenure),
            t("user.orders", n=f"{profile.get('value', {}).get('orders_life') or 0:g}"),
        ),
        (t("user.features_age"), age(t, batch.age_s(0)), t("user.as_of", at=told["features"]["as_of"][:16])),
    ]


def because_words(t: Words, told: Mapping[str, Any]) -> str:
    """What the person did that speaks for an item or category, whose name is people's own where there is one.

    Examples
    --------
    >>> from serving.console.words import words
    >>> because_words(words("zh"), {"id": "pet_food", "days_ago": 0.4})
    '因为今天的宠物食品'
    >>> because_words(words("en"), {"id": "i7", "days_ago": 3.2})
    'because of i7, 3 days ago'
    """
    return closed_up(occasion_text(category_said(t, told["id"]), math.floor(told["days_ago"]), t.lang))


def happened(asked: Asked, told: Mapping[str, Any]) -> list[dict[str, str]]:
    """The last three things that the user did: what, about what, when and how long ago."""
    now_us, found = microseconds(asked.live.now()), []
    for event in (told["profile"] or {}).get("last_events", []):
        at = event.get("event_at") or ""
        try:
            ago = (now_us - microseconds(datetime.fromisoformat(at))) / 1e6
        except ValueError:
            ago = 0.0
        found.append(
            {
                "what": asked.t.or_code("user.event", event.get("event_type")),
                "about": str(event.get("item_id") or ""),
                "category": str(event.get("category_id") or ""),
                "at": at,
                "ago": asked.t("user.ago", age=age(asked.t, max(0.0, ago))),
            }
        )
    return found
