"""Three tiers of customers, 潜力 / 核心 / 沉睡, from forecast spend and silence; and how much tiers move.

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
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import build
from configs.errors import ConfigError

__all__ = ["TIERS", "TierRules", "Tiers", "moves", "read_rules", "realised"]

Floats = NDArray[np.float64]

TIERS = ("potential", "core", "dormant")


@dataclass(frozen=True)
class TierRules:
    """What ``configs/models/value.yaml`` says of tiers; shares are of customers, silences in days."""

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


def moves(before: NDArray[np.intp], after: NDArray[np.intp]) -> dict[str, Any]:
    """How the same customers moved between two dates: the share that stayed, and where each tier went.

    Examples
    --------
    >>> moves(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]))["stayed"]
    0.75
    """
    count = np.zeros((len(TIERS), len(TIERS)))
    np.add.at(count, (before, after), 1)
    of_all = count / np.maximum(count.sum(1, keepdims=True), 1)
    return {
        "users": len(before),
        "stayed": float(np.trace(count) / max(count.sum(), 1)),
        "went": {a: {b: float(of_all[i, j]) for j, b in enumerate(TIERS)} for i, a in enumerate(TIERS)},
    }


def realised(tier: NDArray[np.intp], truth: Floats) -> dict[str, dict[str, float]]:
    """What each tier did: its share of customers and of all spend, the mean spend, the share that bought."""
    total = max(float(truth.sum()), 1e-12)
    found = {}
    for k, name in enumerate(TIERS):
        spent = truth[tier == k]
        found[name] = {
            "users": float(len(spent) / max(len(truth), 1)),
            "spend": float(spent.sum() / total),
            "mean_spend": float(spent.mean()) if len(spent) else float("nan"),
            "bought": float((spent > 0).mean()) if len(spent) else float("nan"),
        }
    return found
