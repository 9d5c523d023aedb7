"""When customers come and buy: a hidden Markov model whose every probability can be computed.

Each user has three hidden classes, drawn once: how fast they buy, how often they look in, how loyal they are. Each day
the user is in one of four hidden states::

    active ──► shopping      an intention to buy: many visits, full baskets, purchases
       ▲ ◄────────┘
       │ ▲
       ▼ │
     fading ──► gone         visits thin out before the end; nobody comes back from ``gone``

Given the classes and the state, three daily counts are independent Poisson variables: visits that end without a
basket, visits that leave a basket behind, and orders. Their intensities are (class) x (state) x (season of that day).
Until the first order the intensity of orders is ``first_order_factor`` as high; that depends on what everybody sees, so
filtering stays exact.

What is looked at and bought (categories, items, prices, coupons, channels, hours) is drawn after the counts and from
nothing hidden but tastes, so it says nothing about the classes or the state: the counts are sufficient. Repeat-purchase
intervals decide *which* category is due, never *whether* there is an order.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gamma

from features.simulate.seasons import season

__all__ = ["COUNTS", "STATES", "Process", "gamma_classes"]

STATES = ("active", "shopping", "fading", "gone")
COUNTS = ("browse", "basket", "order")

Floats = NDArray[np.float64]


def gamma_classes(shape: float, mean: float, count: int) -> tuple[float, ...]:
    """``count`` equally likely rates: the means of the equal-mass slices of a gamma distribution.

    Examples
    --------
    >>> rates = gamma_classes(1.0, 0.05, 4)
    >>> round(sum(rates) / 4, 6)
    0.05
    """
    edges = gamma.ppf(np.linspace(0, 1, count + 1), shape)
    # E[X; X in slice] of a gamma variable is shape x the mass of the slice under gamma(shape + 1).
    mass = np.diff(gamma.cdf(edges, shape + 1))
    return tuple(float(rate) for rate in mass * mean * count)


@dataclass(frozen=True)
class Process:
    """The parameters of the hidden Markov model; rates and transition probabilities are per day.

    A class is a triple (purchase, engagement, loyalty); triples are numbered with loyalty running fastest.
    """

    order_rates: tuple[float, ...] = gamma_classes(1.6, 0.05, 5)
    visit_rates: tuple[float, ...] = (0.02, 0.05, 0.13)
    visit_weights: tuple[float, ...] = (0.4, 0.35, 0.25)
    fade_rates: tuple[float, ...] = (1 / 30, 1 / 110, 1 / 500)
    fade_weights: tuple[float, ...] = (0.3, 0.35, 0.35)
    start: tuple[float, ...] = (0.7, 0.3, 0.0, 0.0)
    to_shopping: float = 0.03
    shopping_over: float = 0.2
    back_from_fading: float = 0.03
    fading_over: float = 0.025
    order_by_state: tuple[float, ...] = (0.6, 4.0, 0.08, 0.0)
    visit_by_state: tuple[float, ...] = (0.9, 2.5, 0.15, 0.0)
    basket_by_state: tuple[float, ...] = (0.08, 0.6, 0.02, 0.0)
    first_order_factor: float = 0.6

    @cached_property
    def weights(self) -> Floats:
        """The prior of each class, shape ``(classes,)``."""
        uniform = np.full(len(self.order_rates), 1 / len(self.order_rates))
        parts = (uniform, np.array(self.visit_weights), np.array(self.fade_weights))
        return np.asarray(np.einsum("i,j,k->ijk", *parts)).reshape(-1)

    @cached_property
    def transitions(self) -> Floats:
        """``[class, from, to]``: the probability of the state of tomorrow; rows sum to 1."""
        table = np.zeros((len(self.fade_rates), 4, 4))
        for loyalty, fade in enumerate(self.fade_rates):
            active = [1 - self.to_shopping - fade, self.to_shopping, fade, 0.0]
            shopping = [self.shopping_over, 1 - self.shopping_over, 0.0, 0.0]
            fading = [self.back_from_fading, 0.0, 1 - self.back_from_fading - self.fading_over, self.fading_over]
            table[loyalty] = np.array([active, shopping, fading, [0.0, 0.0, 0.0, 1.0]])
        return np.tile(table, (len(self.order_rates) * len(self.visit_rates), 1, 1))

    @cached_property
    def intensities(self) -> Floats:
        """``[count, class, state]``: expected daily counts on a day whose season is 1, for somebody who has bought."""
        shape = (len(self.order_rates), len(self.visit_rates), len(self.fade_rates), 4)
        visits = np.array(self.visit_rates)[None, :, None, None]
        orders = np.array(self.order_rates)[:, None, None, None]
        table = [
            np.broadcast_to(visits * np.array(self.visit_by_state), shape),
            np.broadcast_to(visits * np.array(self.basket_by_state), shape),
            np.broadcast_to(orders * np.array(self.order_by_state), shape),
        ]
        return np.stack(table).reshape(3, -1, 4)

    def seasons(self, first: date, days: int) -> Floats:
        """``[count, day]``: the factor of each day from ``first`` on."""
        visits, orders = season(first, days, purchases=False), season(first, days, purchases=True)
        return np.stack([visits, visits, orders])

    def to_json(self) -> str:
        """The parameters as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Process:
        """The process that `to_json` wrote.

        Examples
        --------
        >>> Process.from_json(Process().to_json()) == Process()
        True
        """
        values = json.loads(text)
        fields: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
        return cls(**fields)
