"""Who the customers are and what each day of theirs brings: classes, states and counts drawn from the process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.simulate.process import Process

__all__ = ["People", "draw_people"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LAUNCH_SHARE = 0.3  # of the users register in the first weeks: the members the shop takes over at its opening
_LAUNCH_DAYS = 21.0


@dataclass(frozen=True)
class People:
    """Users in the order of their number, with what is hidden (classes, states) and the counts it caused.

    ``registered`` is in days since the first midnight, fractional; ``states`` is ``[user, day]`` (int8, -1 before the
    registration day) and ``counts`` is ``[count, user, day]``.
    """

    registered: Floats
    classes: Ints
    states: NDArray[np.int8]
    counts: NDArray[np.int16]

    @property
    def first_day(self) -> Ints:
        """The number of the registration day."""
        return self.registered.astype(np.int64)


def draw_people(process: Process, seasons: Floats, users: int, rng: np.random.Generator) -> People:
    """``users`` people over as many days as ``seasons`` has columns."""
    days = seasons.shape[1]
    registered = _registrations(users, days, rng)
    first = registered.astype(np.int64)
    classes = rng.choice(len(process.weights), size=users, p=process.weights)
    cumulative = process.transitions.cumsum(axis=2)[classes]
    intensity = process.intensities[:, classes, :]
    states = np.full((users, days), -1, dtype=np.int8)
    counts = np.zeros((3, users, days), dtype=np.int16)
    state = rng.choice(4, size=users, p=process.start)
    bought = np.zeros(users, dtype=bool)
    everyone = np.arange(users)
    for day in range(days):
        moved = (rng.random(users)[:, None] > cumulative[everyone, state]).sum(axis=1).clip(max=3)
        state = np.where(first < day, moved, state)
        here = first <= day
        rates = intensity[:, everyone, state] * seasons[:, day, None] * here
        rates[2] *= np.where(bought, 1.0, process.first_order_factor)
        counts[:, :, day] = rng.poisson(rates)
        bought |= counts[2, :, day] > 0
        states[here, day] = state[here]
    return People(registered, classes, states, counts)


def _registrations(users: int, days: int, rng: np.random.Generator) -> Floats:
    """Registration instants in days, sorted: a launch, then a steady stream that ends with the last day."""
    launch = rng.random(users) < _LAUNCH_SHARE
    early = rng.exponential(_LAUNCH_DAYS, users) % (days * 0.5)
    day = np.sort(np.where(launch, early, rng.random(users) * days)).astype(np.int64).clip(0, days - 1)
    return day + rng.uniform(8 / 24, 22 / 24, users)  # late enough in the day to leave an hour for its visits
