"""The card of one version: what it is for, how good it is, where it comes from, what was checked and said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.questions import QUESTIONS
from serving.console import sign
from serving.console.asked import Asked
from serving.console.card_head import head_values
from serving.console.measures import ready
from serving.console.page import Page
from serving.console.standing import Standing, Version, card_of, standing, version_at

__all__ = ["page"]

#: What is read first: what keeps the version back, what is worth a look, what nobody could ask.
STATUSES = ("issue", "tip", "skipped", "ignored", "not_applicable", "passed")
#: Of these the title, which names what a check looks for, is what was found.
FIRED = ("issue", "tip", "ignored")
TINTS = {"issue": "warn", "tip": "mute", "passed": "good"}
DIGITS = 4
MANY = 40
#: How the desk says that a feature is there for everybody.
NEVER = {"en": "never absent", "zh": "不会缺失"}


def page(asked: Asked) -> Page:
    """Answer ``GET /console/models/{model}/{version}``."""
    model = asked.parts["model"]
    card = card_of(asked, model, asked.parts["version"])
    stands = standing(asked, model)
    version = version_at(asked, stands, card)
    heads = list(card["heads"])
    chosen = asked.given.get("head", "")
    head = chosen if chosen in heads else heads[0]
    values = {
        "card": Lenient(card),
        "data": Lenient(card.get("data") or {}),
        "split": Lenient(card.get("split") or {}),
        "origin": Lenient(card.get("lineage") or {}),
        "labels": {name: _label(asked, one) for name, one in card["heads"].items()},
        "version": version,
        "role": _role(asked, stands, version),
        "other": _other(stands, version),
        "signed": sign.confirmation(asked, model, version.number),
        "head": head,
        "chosen": head_values(asked, card, head),
        "checks": _checks(asked, version),
        "never": NEVER,
        "features": [Lenient(one) for one in _features(card, head)],
        "rows": list(reversed(version.rows)),
        "form": sign.form(asked, card),
    }
    title = asked.t("card.title", model=model, version=version.number)
    return Page("card.html", title, "models", values)


class Lenient(dict[str, Any]):
    """A mapping for templates whose missing entries are None: a card leaves out what has no meaning for its model."""

    def __missing__(self, key: str) -> None:
        """Nothing."""


def _label(asked: Asked, head: Mapping[str, Any]) -> Lenient:
    """What a head says, for whom, within which time, and whether it is ready."""
    advice = Lenient(head.get("readiness") or {})
    channels = [{"channel": one["channel"], "said": ready(asked.t, one)} for one in advice["channels"] or []]
    kept = {name: head.get(name) for name in ("meaning", "cohort", "horizon_days")}
    return Lenient(kept | {"ready": ready(asked.t, advice), "until": advice["until"], "channels": channels})


def _role(asked: Asked, stands: Standing, version: Version) -> tuple[str, str]:
    """In a word where the version stands, with its tint."""
    t = asked.t
    if version.role == "champion":
        return (t("models.in_force"), "good") if version.meta is not None else (t("models.promoted_only"), "warn")
    if stands.waiting is not None and stands.waiting.version == version.number:
        return t("card.promoted_not_released"), "warn"
    return (t("models.challenger"), "mute") if version.role == "challenger" else (t("card.older"), "mute")


def _other(stands: Standing, version: Version) -> Version | None:
    """What this version is compared with: the champion, or whatever waits to follow it."""
    other = stands.challenger if version.role == "champion" else stands.champion
    return None if other is None or other.card is None or other.number == version.number else other


def _checks(asked: Asked, version: Version) -> list[dict[str, Any]]:
    found = []
    for one in (version.checks or {}).get("outcomes", []):
        blocks = one["status"] == "issue" and one["severity"] == "blocker"
        tint = "bad" if blocks else TINTS.get(one["status"], "mute")
        word = asked.t("card.status_blocks") if blocks else asked.t.or_code("card.status", one["status"])
        place = -1 if blocks else STATUSES.index(one["status"]) if one["status"] in STATUSES else len(STATUSES)
        own = {"question": QUESTIONS.get(one["code"], one["title"]), "evidence": tidied(one["evidence"])}
        title = asked.t.of(one["title"])
        fired = one["status"] in FIRED and one["code"] in QUESTIONS
        own["found"] = asked.t("card.found", what=title[:1].upper() + title[1:]) if fired else ""
        found.append({**one, "tint": tint, "word": word, "place": place, **own})
    return sorted(found, key=lambda one: (one["place"], one["code"]))


def _features(card: Mapping[str, Any], head: str) -> list[dict[str, Any]]:
    """Every feature with its weight for the head, the heaviest first; those without weight follow."""
    weights = {one["feature"]: one["share"] for one in card["heads"][head].get("weights", [])}
    listed = [{**one, "share": weights.get(one["name"], 0.0)} for one in card["features"]]
    return sorted(listed, key=lambda one: -one["share"])


def tidied(content: Any) -> Any:
    """Evidence for people: numbers with 4 digits that say something, lists of 40 entries, the rest as it is.

    Examples
    --------
    >>> tidied({"auroc": [0.7355818114, 3, "as it was", None]})
    {'auroc': [0.7356, 3, 'as it was', None]}
    """
    if isinstance(content, float):
        return float(f"{content:.{DIGITS}g}") if abs(content) < 10**DIGITS else round(content)
    if isinstance(content, Mapping):
        return {key: tidied(value) for key, value in content.items()}
    if isinstance(content, list):
        more = [f"… {len(content) - MANY} more"] if len(content) > MANY else []
        return [*(tidied(value) for value in content[:MANY]), *more]
    return content
