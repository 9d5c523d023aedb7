"""One head of the interest model: a margin in log-odds, a probability, and how far that may be off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs.errors import BundleError
from serving.scoring.calibrator import Calibrator, read_calibrator
from serving.scoring.folder import Folder
from serving.scoring.margins import Margins

__all__ = ["InterestHead", "read_interest_head"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class InterestHead:
    """One head: its features in order, its booster, and how a margin becomes a probability with an interval.

    ``interval`` is float64[b, 3]: at margins ``interval[:, 0]``, rising, by how much the log-odds of the calibrated
    probability may be off, downwards (<= 0) and upwards (>= 0), with 95 % confidence.
    """

    name: str
    features: tuple[str, ...]
    booster: lgb.Booster
    calibrator: Calibrator
    quantiles: Floats
    interval: Floats

    def raw(self, x: Floats) -> Floats:
        """The margin in log-odds, float64[n]."""
        if len(x) == 0:
            return np.empty(0)
        if self.margins is not None:
            return self.margins(x)
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=1), dtype=np.float64)

    @cached_property
    def margins(self) -> Margins | None:
        """The booster's own margins, sooner; None where it must be asked itself."""
        return Margins.of(self.booster)

    def probability(self, raw: Floats) -> tuple[Floats, Floats, Floats]:
        """Calibrated probabilities and the ends of their intervals, which contain them, float64[n] each."""
        p = self.calibrator(raw)
        with np.errstate(divide="ignore"):
            odds = np.log(p) - np.log1p(-p)
        low = np.interp(raw, self.interval[:, 0], self.interval[:, 1])
        high = np.interp(raw, self.interval[:, 0], self.interval[:, 2])
        below, above = 1.0 / (1.0 + np.exp(-(odds + low))), 1.0 / (1.0 + np.exp(-(odds + high)))
        return p, np.minimum(below, p), np.maximum(above, p)  # back from log-odds, the last bit may have moved

    def percentile(self, raw: Floats) -> Floats:
        """The share of the reference pairs of user and candidate, in [0, 100], below each margin."""
        return np.asarray(np.interp(raw, self.quantiles, np.linspace(0.0, 100.0, len(self.quantiles))))


def read_interest_head(name: str, meta: Mapping[str, Any], folder: Folder, where: str) -> InterestHead:
    """The head of that name; a booster of other columns, or an interval that makes no sense, is refused."""
    content, booster = meta["heads"][name], folder.boosters[meta["heads"][name]["booster"]]
    features = tuple(meta["features"][name])
    if booster.feature_name() != list(features):
        raise BundleError(
            f"{where}: booster {name!r} was trained on other columns",
            got=booster.num_feature(),
            expected=len(features),
        )
    quantiles = np.asarray(content["raw_percentiles"], dtype=np.float64)
    interval = np.asarray(content["interval"], dtype=np.float64)
    rising = interval.ndim == 2 and interval.shape[1] == 3 and len(interval) > 0 and (np.diff(interval[:, 0]) > 0).all()
    if not rising or not np.isfinite(interval).all() or (interval[:, 1] > 0).any() or (interval[:, 2] < 0).any():
        raise BundleError(f"{where}: {name}: interval", got=interval.shape, expected="rows of margin, <= 0, >= 0")
    if quantiles.shape != (101,) or not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
        raise BundleError(f"{where}: {name}: raw_percentiles", got=quantiles.shape, expected="101 numbers, rising")
    return InterestHead(name, features, booster, read_calibrator(content["calibrator"], where), quantiles, interval)
