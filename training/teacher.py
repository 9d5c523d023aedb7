"""The level, applied to rows: what a smooth model thinks of each user over each window.

The teacher is not served. It forecasts the population, and its opinion of single users is passed on to a booster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.level import Level, Windows, covariates, fit_level
from training.npmle import History, Mixture, fit_mixture
from training.stack import Family, Rows

__all__ = ["Teacher", "fit_teacher"]

Floats = NDArray[np.float64]

_PURCHASES = ("purchase_days_life", "days_since_last_purchase", "days_since_first_purchase")
_ACTIVITY = ("active_days_life", "days_since_last_activity", "tenure_days")


@dataclass(frozen=True)
class Teacher:
    """A level and a mixture of customers, with all that is needed to ask them about rows of the same family."""

    level: Level
    mixture: Mixture
    features: tuple[str, ...]
    purchases: bool
    start: float

    def margin(self, rows: Rows) -> Floats:
        """Log-odds of the label, shape (n,)."""
        z = _covariates(self.mixture, rows, self.features, self.purchases, self.start)
        return self.level.margin(z, _windows(rows))

    def expected(self, rows: Rows) -> Floats:
        """What the mixture alone says of each row's window, the columns of `Mixture.columns`, float64[n, 3]."""
        return _expected(self.mixture, rows, self.features, self.purchases)

    def offset(self, rows: Rows) -> Floats:
        """What the calendar alone adds to the log-odds, shape (n,)."""
        return self.level.offset(_windows(rows))


def fit_teacher(rows: Rows, today: Rows, family: Family, features: Sequence[str], start: float, seed: int) -> Teacher:
    """Learn from labelled ``rows``, and from the pasts of the users of ``today``, who have no labels yet.

    Parameters
    ----------
    rows
        Labelled; every window ends at or before ``today``.
    start
        The day of the first event, in days since 1970.
    """
    purchases = family.label.startswith("repurchase")
    users = today.where(today.horizon == today.horizon[0])
    mixture = fit_mixture(_history(users.x, features, purchases), seed)
    ahead = float(today.as_of.max())
    level = fit_level(
        _covariates(mixture, rows, features, purchases, start),
        rows.y,
        _windows(rows),
        ahead,
        float(today.end.max()) - ahead,
    )
    return Teacher(level, mixture, tuple(features), purchases, start)


def _windows(rows: Rows) -> Windows:
    return Windows(rows.start, rows.end)


def _covariates(mixture: Mixture, rows: Rows, features: Sequence[str], purchases: bool, start: float) -> Floats:
    expected = _expected(mixture, rows, features, purchases)
    return np.hstack([expected, covariates(rows.x, features, purchases, rows.as_of - start)])


def _expected(mixture: Mixture, rows: Rows, features: Sequence[str], purchases: bool) -> Floats:
    return mixture.columns(_history(rows.x, features, purchases), rows.start - rows.as_of, rows.end - rows.start)


def _history(x: Floats, features: Sequence[str], purchases: bool) -> History:
    place = {name: k for k, name in enumerate(features)}
    days, recency, age = (np.nan_to_num(x[:, place[name]]) for name in (_PURCHASES if purchases else _ACTIVITY))
    age = np.maximum(age, 0)
    return History(np.maximum(days - 1, 0), np.clip(age - recency, 0, age), age)
