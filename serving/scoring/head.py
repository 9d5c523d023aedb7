"""One probability that a model answers: its booster, its question, its calibrator, whom it is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import BundleError
from serving.scoring.calibrator import Calibrator, Sigmoid, read_calibrator

__all__ = ["Cohort", "Head", "check_family", "read_cohort", "read_head"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cohort:
    """Whom a head is for: every rule holds, ``min <= value <= max``; an absent value meets only ``is_null: true``."""

    name: str
    meaning: dict[str, str]
    rules: tuple[dict[str, Any], ...]

    def contains(self, x: Floats, features: Sequence[str]) -> NDArray[np.bool_]:
        """Which rows of ``x`` (float64[n, f], columns in the order of ``features``) belong: bool[n]."""
        inside = np.ones(len(x), dtype=np.bool_)
        for rule in self.rules:
            value = x[:, features.index(rule["feature"])]
            if "is_null" in rule:
                inside &= np.isnan(value) == rule["is_null"]
            if "min" in rule:
                inside &= value >= rule["min"]
            if "max" in rule:
                inside &= value <= rule["max"]
        return inside


@dataclass(frozen=True)
class Head:
    """One probability, for example ``p_inactive_30d``.

    ``quantiles`` are the raw scores at 0, 1, ..., 100 % of the reference population.
    """

    name: str
    booster: str
    horizon_days: float | None
    cohort: str | None
    calibrator: Calibrator
    quantiles: tuple[float, ...] = field(repr=False)

    def percentile(self, raw: Floats) -> Floats:
        """The share, in [0, 100], of the reference population below each raw score; half of those equal to it.

        Examples
        --------
        >>> head = Head("p", "b", None, None, Sigmoid(1.0, 0.0), tuple(float(q) for q in range(101)))
        >>> head.percentile(np.array([-5.0, 12.5, 500.0])).tolist()
        [0.0, 12.5, 100.0]
        """
        values, position = self._positions
        return np.asarray(np.interp(raw, values, position, left=0.0, right=100.0))

    @cached_property
    def _positions(self) -> tuple[Floats, Floats]:
        values, first, count = np.unique(self.quantiles, return_index=True, return_counts=True)
        return values, (first + (count - 1) / 2) * (100.0 / (len(self.quantiles) - 1))


def read_cohort(name: str, content: Mapping[str, Any], features: Sequence[str], where: str) -> Cohort:
    """The cohort that JSON describes; a rule on a feature that the model does not have is refused."""
    rule = content.get("rule", [])
    rules = tuple(rule) if isinstance(rule, list) else (rule,)
    for one in rules:
        keys = set(one) if isinstance(one, dict) else set()
        if "feature" not in keys or len(keys) < 2 or keys - {"feature", "min", "max", "is_null"}:
            raise BundleError(f"{where}: cohort {name!r}", got=one, expected="{feature, and of min, max, is_null}")
        if one["feature"] not in features:
            raise BundleError(f"{where}: cohort {name!r} reads an unknown feature", got=one["feature"])
    return Cohort(name, dict(content.get("meaning", {})), rules)


def read_head(name: str, content: Mapping[str, Any], where: str) -> Head:
    """The head that JSON describes."""
    quantiles = np.asarray(content.get("raw_percentiles", []), dtype=np.float64)
    if quantiles.shape != (101,) or not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
        raise BundleError(f"{where}: raw_percentiles", got=quantiles.shape, expected="101 finite numbers, rising")
    horizon = content.get("horizon_days")
    return Head(
        name=name,
        booster=str(content.get("booster")),
        horizon_days=None if horizon is None else float(horizon),
        cohort=content.get("cohort"),
        calibrator=read_calibrator(content.get("calibrator", {}), where),
        quantiles=tuple(quantiles.tolist()),
    )


def check_family(direction: str, heads: Iterable[Head], where: str) -> None:
    """Refuse calibrators that could break ``direction`` of the probability along the horizon.

    A booster whose raw score rises with the horizon keeps that through one and the same calibrator, or through
    sigmoids of one slope whose intercepts do not fall; a falling one likewise, the other way round.
    """
    ordered = sorted(heads, key=lambda head: head.horizon_days or 0.0, reverse=direction == "decreasing")
    for low, high in pairwise(ordered):
        a, b = low.calibrator, high.calibrator
        sigmoids = isinstance(a, Sigmoid) and isinstance(b, Sigmoid)
        if a == b or (sigmoids and a.slope == b.slope and a.intercept <= b.intercept):  # type: ignore[attr-defined]
            continue
        raise BundleError(
            f"{where}: {low.name} and {high.name} could cross",
            got=[a, b],
            expected=f"one slope, and intercepts {direction} with the horizon",
        )
