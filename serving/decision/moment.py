"""One moment as rules see it: what is known about the person, or nothing of it where personalization is off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from serving.decision.expression import Facts
from serving.decision.inputs import Inputs, Need
from serving.decision.policy import Channel, Policy

__all__ = ["Moment"]

_PULL = Channel(push=False, contact_cost=0.0, needs_consent=False)


@dataclass(frozen=True)
class Moment:
    """What rules read of ``Inputs``.

    With personalization off, lifecycle, tier, tags, scores, needs, interests and damped neighbours count as unknown:
    nothing is inferred about the person. What the person said (opt-out, consent, not interested) and the caps, which
    protect the person, stay in force.
    """

    inputs: Inputs
    at_us: int
    personal: bool
    channel: str | None
    placement: str | None
    scenario: str | None
    store: str | None
    state: str | None
    tier: str | None
    tags: Mapping[str, float]
    needs: Mapping[str, Need]
    interests: Mapping[str, float]
    damped: Mapping[str, float]
    usable: tuple[str, ...]
    facts: Facts

    @classmethod
    def of(cls, inputs: Inputs, policy: Policy, reads: frozenset[str]) -> Moment:
        """The moment of these inputs; ``reads`` is what the expressions in force read of it."""
        context, personal = inputs.context, inputs.personalization
        state = inputs.lifecycle_state if personal else None
        tier = inputs.value_tier if personal else None
        tags = inputs.tags if personal else {}
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=inputs.at_us)
        user: dict[str, Any] = {
            "user_id": inputs.user_id,
            "lifecycle_state": state or "unknown",
            "value_tier": tier or "unknown",
            "tags": tags,
            "scores": inputs.scores if personal else {},
            "consent": inputs.consent,
            "personalization": personal,
        }
        names = ("channel", "placement", "scenario", "store_id", "device", "locale")
        surroundings = {
            **{name: context.get(name) or "" for name in names},
            "attributes": context.get("attributes") or {},
            "hour": at.hour,
            "weekday": at.isoweekday(),
            "month": at.month,
        }
        return cls(
            inputs=inputs,
            at_us=inputs.at_us,
            personal=personal,
            channel=context.get("channel"),
            placement=context.get("placement"),
            scenario=context.get("scenario"),
            store=context.get("store_id"),
            state=state,
            tier=tier,
            tags=tags,
            needs=inputs.needs if personal else {},
            interests=inputs.interests if personal else {},
            damped=inputs.damped if personal else {},
            usable=tuple(name for name in policy.channels if unusable(name, inputs, policy) is None),
            facts=Facts(user, surroundings, reads),
        )

    def gate(self, policy: Policy) -> tuple[str, str, str] | None:
        """(stage, rule, status_reason) of what forbids to address this person here at all, or None."""
        if self.inputs.opted_out:
            return "suppression", "opted_out", "OPTED_OUT"
        if self.channel is not None:
            return unusable(self.channel, self.inputs, policy)
        if policy.channels and not self.usable:
            return "eligibility", "no_consent:all_channels", "NO_CONSENT"
        return None

    def channel_of(self, policy: Policy) -> Channel:
        """The rules of the channel asked for; without one: a pull channel that costs nothing."""
        return _PULL if self.channel is None else policy.channels.get(self.channel, _PULL)


def unusable(channel: str, inputs: Inputs, policy: Policy) -> tuple[str, str, str] | None:
    """(stage, rule, status_reason) of what forbids a channel: paused, unknown, refused, or not consented to.

    What consent an unknown channel needs, nobody has said: so nothing is said there.
    """
    if channel in inputs.paused_channels:
        return "suppression", f"paused_channel:{channel}", "PAUSED_CHANNEL"
    if channel not in policy.channels:
        return "eligibility", f"unknown_channel:{channel}", "NO_CONSENT"
    given = inputs.consent.get(channel)
    if given is False or (given is None and policy.channels[channel].needs_consent):
        return "eligibility", f"no_consent:{channel}", "NO_CONSENT"
    return None
