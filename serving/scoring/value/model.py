"""The value model of a release: expected spend = P(a purchase in the horizon) x mean amount of those who buy.

A `Model` whose probability is that of a purchase, and which also knows how much. ``model.json`` says beside what
`serving.scoring.model` reads::

    kind            "value"
    amount          booster (its last column is the horizon too), constants by head, ratios: 101 quantiles of
                    log(amount / mean amount), the same for everybody
    heads.<name>    also spend_percentiles: 101 quantiles of expected spend in the reference population
    cold_start      by head, the mean expected spend of everybody who bought
    tiers           the rules of configs/tiers.yaml with their amounts

The log of the mean amount is the booster's raw score plus the constant of the head: both may only rise with the
horizon, as the probability does, so expected spend never falls with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs.errors import BundleError
from serving.scoring.folder import write_folder
from serving.scoring.model import Model
from serving.scoring.value.forecast import LEVELS, SpendForecast
from serving.scoring.value.tiers import TIERS, Tiers

__all__ = ["NAME", "ValueModel", "write_value"]

NAME = "value"

Floats = NDArray[np.float64]


class ValueModel(Model):
    """What one value model answers; ``raw`` and ``contributions`` of the base class are those of the purchase."""

    kind: ClassVar[str] = "value"

    def __init__(self, meta: Mapping[str, Any], boosters: Mapping[str, lgb.Booster], digest: str, where: str) -> None:
        super().__init__(meta, boosters, digest, where)
        amount = meta["amount"]
        self._amount_booster: str = amount["booster"]
        self._constants = {head: float(amount["constants"][head]) for head in self.heads}
        self._ratios = np.asarray(amount["ratios"], dtype=np.float64)
        self.tiers = Tiers.from_json(meta["tiers"], f"{where}: tiers")
        self._ranked = {
            name: replace(head, quantiles=tuple(map(float, meta["heads"][name]["spend_percentiles"])))
            for name, head in self.heads.items()
        }
        self._silence = self.features.index(self.tiers.rules.recency)
        self._check_value(where)

    def spend(self, x: Floats, heads: Sequence[str], *, threads: int = 1) -> dict[str, SpendForecast]:
        """What the rows of ``x`` (float64[n, f]) will spend within the horizon of each head."""
        chance, amount = self.raws(x, heads, threads=threads), self.amount_raws(x, heads, threads=threads)
        return {head: self.forecast(head, chance[head], amount[head]) for head in heads}

    def forecast(self, head: str, raw: Floats, amount_raw: Floats) -> SpendForecast:
        """From the raw score of a purchase and the log of the mean amount, float64[n] each."""
        return SpendForecast(self.heads[head].calibrator(raw), np.asarray(np.exp(amount_raw)), self._ratios)

    def amount_raws(self, x: Floats, heads: Sequence[str], *, threads: int = 1) -> dict[str, Floats]:
        """The log of the mean amount of those who buy, float64[n], by head."""
        found = self._raw(self._amount_booster, x, self._horizons(heads), threads)
        return {head: raw + self._constants[head] for head, raw in zip(heads, found, strict=True)}

    def amount_explained(
        self, x: Floats, heads: Sequence[str], *, threads: int = 1
    ) -> dict[str, tuple[Floats, Floats]]:
        """Exact TreeSHAP values of `amount_raws`, float64[n, f], and the base values, float64[n], by head."""
        found = self._explained(self._amount_booster, x, self._horizons(heads), threads)
        return {head: (phi, base + self._constants[head]) for head, phi, base in zip(heads, *found, strict=True)}

    def spend_percentile(self, expected: Floats, head: str) -> Floats:
        """The share of the reference population, in [0, 100], with a smaller expected spend."""
        return self._ranked[head].percentile(expected)

    def tier(self, x: Floats, expected: Floats) -> list[str]:
        """The tier of each row, from its expected spend of the head that the rules name (``tiers.rules.head``)."""
        return [TIERS[k] for k in self.tiers.of(expected, x[:, self._silence])]

    def _check_value(self, where: str) -> None:
        booster = self.meta["boosters"][self._amount_booster]
        if booster.get("monotone") != "increasing":
            raise BundleError(
                f"{where}: amounts may fall with the horizon", got=booster, expected="monotone increasing"
            )
        by_horizon = sorted(self.heads.values(), key=lambda head: head.horizon_days or 0.0)
        constants = [self._constants[head.name] for head in by_horizon]
        if not np.isfinite(constants).all() or (np.diff(constants) < 0).any():
            raise BundleError(
                f"{where}: amount.constants", got=constants, expected="finite, none below a shorter one's"
            )
        for what, values in (
            ("amount.ratios", self._ratios),
            *((f"{name}: spend_percentiles", np.array(one.quantiles)) for name, one in self._ranked.items()),
        ):
            if values.shape != LEVELS.shape or not np.isfinite(values).all() or (np.diff(values) < 0).any():
                raise BundleError(f"{where}: {what}", got=values.shape, expected="101 finite numbers, rising")
        if self.tiers.rules.head not in self.heads:
            raise BundleError(f"{where}: tiers: head", got=self.tiers.rules.head, expected=sorted(self.heads))


def write_value(folder: Path, meta: Mapping[str, Any], boosters: Mapping[str, str]) -> ValueModel:
    """Write a value model's folder and read it back; ``meta`` as `write_model` takes it, with what the module adds."""
    write_folder(folder, {**meta, "kind": ValueModel.kind}, boosters)
    return ValueModel.load(folder)
