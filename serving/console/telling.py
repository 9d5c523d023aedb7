"""The codes of a decision in words: statuses, stages, rules, caps; the code itself stays beside them on the page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from serving.console.naming import category_said
from serving.console.words import Words
from serving.decision.caps import Cap
from serving.decision.offers import DIMENSIONS
from serving.reasons import closed_up

__all__ = ["cap_said", "instant_of", "lasting", "rule_said", "status_said"]

_DIMENSION = re.compile(rf"({'|'.join(DIMENSIONS.values())})=(.*)", re.DOTALL)
_NEIGHBOUR = re.compile(r"not_interested_neighbour:(.*):(\d\.\d\d)", re.DOTALL)
_NEED = re.compile(r"need_satisfied:(.*):([\d.]+)d<([\d.]+)d", re.DOTALL)
# The rules whose value is an offer, a category or an item.
_OF_THINGS = ("not_interested", "not_interested_neighbour", "duplicate_of")
# What stands behind the name of a rule, after one of these, is its value.
_NAMED = re.compile(r"([a-z_.]+)(?::|<=|=)(.*)", re.DOTALL)


def rule_said(
    t: Words,
    stage: str,
    rule: str,
    caps: Mapping[str, Cap] | None = None,
    names: Mapping[str, str] | None = None,
) -> str:
    """A rule in words; ``caps`` are those of the offer by name, ``names`` those of offers by id.

    An unknown rule stands for itself.

    Examples
    --------
    >>> from serving.console.words import words
    >>> rule_said(words("en"), "eligibility", "channel=sms")
    'not for the channel sms'
    >>> rule_said(words("zh"), "suppression", "need_satisfied:茶:3.0d<7.5d")
    '3.0 天前买过茶；平常间隔 7.5 天'
    """
    if stage == "cap":
        cap = (caps or {}).get(rule)
        return t("decision.rule.cap", value=rule) if cap is None else cap_said(t, cap)
    if found := _DIMENSION.fullmatch(rule):
        name, value = found.groups()
        if f"decision.rule.{name}.{value}" in ("decision.rule.channel.none_usable", f"decision.rule.{name}.unknown"):
            return t(f"decision.rule.{name}.{value}")
        kinds = {"lifecycle_state": "decision.lifecycle", "value_tier": "decision.tier"}
        return t(f"decision.rule.{name}", value=t.or_code(kinds[name], value) if name in kinds else value)
    if found := _NEIGHBOUR.fullmatch(rule):
        value = _called(t, found[1], names)
        return closed_up(t("decision.rule.not_interested_neighbour.factor", value=value, factor=found[2]))
    if found := _NEED.fullmatch(rule):
        return t("decision.rule.need_satisfied", value=category_said(t, found[1]), days=found[2], usual=found[3])
    if rule == "no_consent:all_channels":
        return t("decision.rule.no_consent.all_channels")
    name, value = found.groups() if (found := _NAMED.fullmatch(rule)) else (rule, "")
    key = f"decision.rule.{name}"
    if name in _OF_THINGS:
        value = _called(t, value, names)
    return closed_up(t(key, value=value)) if t.known(key) else rule


def _called(t: Words, thing: str, names: Mapping[str, str] | None) -> str:
    """An offer, a category or an item, as people call it."""
    return (names or {}).get(thing) or category_said(t, thing)


def cap_said(t: Words, cap: Cap) -> str:
    """A cap in words.

    Examples
    --------
    >>> from serving.console.words import words
    >>> cap_said(words("en"), Cap("gentle", "click", False, 3, 7, "day", True, False))
    'limit reached: 3 × clicked for this user in the last 7 × 24 hours'
    """
    window = t(f"decision.window.{'rolling' if cap.rolling else 'calendar'}.{cap.unit}", n=cap.n)
    if cap.each:
        window = t("decision.window.each", window=window)
    key = "decision.rule.cap.everyone" if cap.everyone else "decision.rule.cap.user"
    return t(key, limit=cap.limit, event=t.or_code("decision.event", cap.event), window=window)


def status_said(t: Words, status: str, reason: str | None) -> tuple[str, str]:
    """A status and its reason, each in words; no reason: an empty text."""
    return t.or_code("decision.status", status), t.or_code("decision.reason", reason) if reason else ""


def lasting(t: Words, us: int) -> str:
    """A stretch of time in its handiest unit.

    Examples
    --------
    >>> from serving.console.words import words
    >>> lasting(words("en"), 90_000_000), lasting(words("en"), 3 * 86_400_000_000)
    ('1.5 min', '3.0 d')
    """
    for name, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(us) >= seconds * 1_000_000:
            return t(f"decision.{name}", n=f"{us / seconds / 1e6:.1f}")
    return t("decision.seconds", n=f"{us / 1e6:.1f}")


def instant_of(us: int) -> str:
    """An instant of the log for reading, to the second, in UTC.

    Examples
    --------
    >>> instant_of(0)
    '1970-01-01 00:00:00'
    """
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"
