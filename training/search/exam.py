"""What parameters are examined by: a past origin, prepared once, asked as often as there are trials.

An exam fits the whole procedure to what was known at its origin, blend and calibrator included, and looks at what
followed. So the value of a trial is that of the model that would be registered with its parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answers", "Exam", "Yardstick"]


@dataclass(frozen=True)
class Answers:
    """By head, a value of every row and whose row it is.

    Examples
    --------
    >>> Answers({}, {"soon": np.array([0.1, 0.3]), "late": np.array([0.6])}).mean
    0.4
    """

    users: Mapping[str, NDArray[Any]]
    values: Mapping[str, NDArray[np.float64]]

    @property
    def mean(self) -> float:
        """The mean over heads: each counts the same, however many users it has."""
        return float(np.mean([values.mean() for values in self.values.values()]))


class Exam(Protocol):
    """One origin."""

    def answers(self, lightgbm: Mapping[str, Any]) -> Answers:
        """What the procedure with these parameters, over its defaults, would have been worth."""


@dataclass(frozen=True)
class Yardstick:
    """How a kind of model is measured; ``exam`` prepares an origin, judged by labels known at a later instant."""

    measure: str
    higher: bool
    defaults: Mapping[str, Any]
    exam: Callable[[datetime, datetime], Exam]
