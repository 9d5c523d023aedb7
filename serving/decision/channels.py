"""On which channel an offer would be answered best."""

from __future__ import annotations

from collections.abc import Mapping

from serving.decision.moment import Moment
from serving.decision.offers import Offer
from serving.decision.policy import Policy

__all__ = ["channel_rates", "rank_channels"]

PRIOR_SHOWN = 50.0


def channel_rates(counts: Mapping[str, tuple[int, int]], channels: tuple[str, ...]) -> dict[str, float]:
    """The smoothed response rate of each channel, ``(n0 * r0 + answered) / (n0 + shown)``, in [0, 1].

    ``r0`` is the rate over all channels together, 1 where nothing was ever shown; ``n0`` is 50 showings.

    Examples
    --------
    >>> channel_rates({"sms": (100, 2), "app": (100, 18)}, ("sms", "app", "web"))
    {'sms': 0.04666666666666667, 'app': 0.15333333333333332, 'web': 0.1}
    """
    shown = sum(pair[0] for pair in counts.values())
    answered = sum(min(pair) for pair in counts.values())
    r0 = answered / shown if shown else 1.0
    rates = {}
    for channel in channels:
        n, k = counts.get(channel, (0, 0))
        rates[channel] = (PRIOR_SHOWN * r0 + min(k, n)) / (PRIOR_SHOWN + n)
    return rates


def rank_channels(
    offer: Offer, p: float, moment: Moment, policy: Policy, rates: Mapping[str, float]
) -> tuple[tuple[str, float], ...]:
    """(channel, p_response) of the channels that the offer and the person allow, best first, ties by name.

    ``p_response`` is the channel's smoothed response rate times the propensity.
    """
    allowed = [name for name in moment.usable if not offer.channels or name in offer.channels]
    return tuple(sorted(((name, rates[name] * p) for name in allowed), key=lambda pair: (-pair[1], pair[0])))
