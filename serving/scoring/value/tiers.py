"""Three tiers of customers, 潜力 / 核心 / 沉睡, from forecast spend and silence.

``core``
    forecast spend among the highest, and not silent for long.
``dormant``
    silent for long, and forecast spend not above what the rules allow a sleeper.
``potential``
    everybody else: all who are awake and not yet core, and sleepers with much to win back.

The rules name shares of customers. Training turns them into amounts once, so that a customer's tier depends on nobody
else's forecast, and a version of the rules with the amounts travels with the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import build
from configs.errors import BundleError, ConfigError

__all__ = ["TIERS", "TIER_NAMES", "TierRules", "Tiers", "read_rules"]

Floats = NDArray[np.float64]

TIERS = ("potential", "core", "dormant")
TIER_NAMES = {
    "potential": {"en": "potential", "zh": "潜力用户"},
    "core": {"en": "core", "zh": "核心用户"},
    "dormant": {"en": "dormant", "zh": "沉睡用户"},
}


@dataclass(frozen=True)
class TierRules:
    """What ``configs/tiers.yaml`` says; shares are of customers, silences in days."""

    version: int
    head: str
    recency: str
    core_share: float
    core_silence_days: float
    dormant_silence_days: float
    dormant_share: float


@dataclass(frozen=True)
class Tiers:
    """Rules with their amounts: ``core_spend`` and ``dormant_spend`` in the currency of the source."""

    rules: TierRules
    core_spend: float
    dormant_spend: float

    @classmethod
    def fit(cls, rules: TierRules, spend: Floats) -> Tiers:
        """The amounts at which the rules' shares of today's customers lie above (core) or below (dormant)."""
        return cls(
            rules, float(np.quantile(spend, 1 - rules.core_share)), float(np.quantile(spend, rules.dormant_share))
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str) -> Tiers:
        """What `as_json` wrote; what it could not have written is refused."""
        names = [field.name for field in fields(TierRules)]
        try:
            rules = read_rules({name: content[name] for name in names}, where)
        except ConfigError as error:
            raise BundleError(error.what, got=error.got, expected=error.expected) from None
        core, dormant = float(content["core_spend"]), float(content["dormant_spend"])
        if not (np.isfinite([core, dormant]).all() and 0 <= dormant <= core):
            raise BundleError(f"{where}: amounts", got=[dormant, core], expected="0 <= dormant_spend <= core_spend")
        return cls(rules, core, dormant)

    def of(self, spend: Floats, silence_days: Floats) -> NDArray[np.intp]:
        """Which of `TIERS` each customer is in, by forecast spend and days since the last purchase; shape (n,).

        Examples
        --------
        >>> rules = TierRules(1, "spend_365d", "days_since_last_purchase", 0.2, 180, 90, 0.5)
        >>> tiers = Tiers(rules, core_spend=100.0, dormant_spend=20.0)
        >>> spend, silence = np.array([150.0, 150, 50, 10, 10]), np.array([5.0, 300, 100, 100, 5])
        >>> [TIERS[k] for k in tiers.of(spend, silence)]
        ['core', 'potential', 'potential', 'dormant', 'potential']
        """
        rules = self.rules
        core = (spend >= self.core_spend) & (silence_days < rules.core_silence_days)
        dormant = ~core & (silence_days >= rules.dormant_silence_days) & (spend <= self.dormant_spend)
        return np.where(core, 1, np.where(dormant, 2, 0)).astype(np.intp)

    def as_json(self) -> dict[str, Any]:
        """What ``model.json`` keeps."""
        return {**asdict(self.rules), "core_spend": self.core_spend, "dormant_spend": self.dormant_spend}


def read_rules(content: Mapping[str, Any], where: str) -> TierRules:
    """Rules from YAML; shares outside (0, 1) and silences below 0 are refused."""
    rules = build(TierRules, dict(content), where)
    for name in ("core_share", "dormant_share"):
        if not 0 < getattr(rules, name) < 1:
            raise ConfigError(f"{where}: {name}", got=getattr(rules, name), expected="a share in (0, 1)")
    for name in ("core_silence_days", "dormant_silence_days"):
        if not getattr(rules, name) >= 0:
            raise ConfigError(f"{where}: {name}", got=getattr(rules, name), expected="days, at least 0")
    if rules.core_share + rules.dormant_share > 1:
        raise ConfigError(
            f"{where}: shares", got=[rules.core_share, rules.dormant_share], expected="at most 1 together"
        )
    return rules
