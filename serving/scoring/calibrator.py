"""From a booster's raw score to a probability: two kinds, both plain numbers in JSON.

Both never decrease, so that ranking by probability never contradicts ranking by raw score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from configs.errors import BundleError

__all__ = ["Calibrator", "Isotonic", "Sigmoid", "read_calibrator"]

Floats = NDArray[np.float64]


class Calibrator(Protocol):
    """Raw scores, float64[n], to probabilities in [0, 1], float64[n]."""

    @property
    def kind(self) -> str:
        """The word under ``kind`` in JSON."""

    def __call__(self, raw: Floats) -> Floats:
        """The probability of each raw score."""


@dataclass(frozen=True)
class Sigmoid:
    """``1 / (1 + exp(-(slope * raw + intercept)))`` with slope > 0 (Platt scaling).

    Examples
    --------
    >>> Sigmoid(1.0, 0.0)(np.array([-800.0, 0.0, 800.0])).tolist()
    [0.0, 0.5, 1.0]
    """

    slope: float
    intercept: float
    kind = "sigmoid"

    def __call__(self, raw: Floats) -> Floats:
        """The probability of each raw score."""
        # Neither overflows for large scores nor loses the digits of small probabilities.
        return np.asarray(np.exp(-np.logaddexp(0.0, -(self.slope * raw + self.intercept))))


@dataclass(frozen=True)
class Isotonic:
    """Straight lines between the points ``(x[i], y[i])``, flat outside.

    Examples
    --------
    >>> Isotonic((0.0, 1.0), (0.2, 0.6))(np.array([-9.0, 0.5, 9.0])).round(3).tolist()
    [0.2, 0.4, 0.6]
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    kind = "isotonic"

    def __call__(self, raw: Floats) -> Floats:
        """The probability of each raw score."""
        return np.asarray(np.interp(raw, self.x, self.y))


def read_calibrator(content: dict[str, Any], where: str) -> Calibrator:
    """The calibrator that ``content`` describes; one that could turn the ranking around is refused.

    Examples
    --------
    >>> read_calibrator({"kind": "sigmoid", "slope": 1.1, "intercept": -0.2}, "p")
    Sigmoid(slope=1.1, intercept=-0.2)
    """
    try:
        kind = content["kind"]
        if kind == "sigmoid":
            sigmoid = Sigmoid(float(content["slope"]), float(content["intercept"]))
            if sigmoid.slope > 0 and np.isfinite([sigmoid.slope, sigmoid.intercept]).all():
                return sigmoid
        elif kind == "isotonic":
            x, y = (np.asarray(content[axis], dtype=np.float64) for axis in "xy")
            rising = x.ndim == 1 and x.shape == y.shape and x.size > 0 and (np.diff(x) > 0).all()
            if rising and np.isfinite(x).all() and (np.diff(y) >= 0).all() and y[0] >= 0 and y[-1] <= 1:
                return Isotonic(tuple(x.tolist()), tuple(y.tolist()))
    except (KeyError, TypeError, ValueError):
        pass
    raise BundleError(
        f"{where}: calibrator cannot be used",
        got=str(content)[:200],
        expected="sigmoid {slope > 0, intercept} or isotonic {x strictly rising, y in [0, 1] never falling}",
    )
