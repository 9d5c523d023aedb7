"""What each visit and order is about: when in the day, through which channel, which categories.

Everything here is drawn from the past of the same user (what was looked at, what was bought when) and from tastes;
never from the classes or states, and never from the future. So categories say nothing hidden about intensities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.simulate.assortment import CATEGORIES
from features.simulate.people import People

__all__ = ["CHANNELS", "LINES", "MINUTE", "Habits", "Occasions", "draw_habits", "draw_occasions"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MINUTE = 1 / 1440
CHANNELS = ("app", "web", "store", "wecom")
LINES = 4  # most lines of one order

_INTEREST_DAYS = 8.0  # a look at a category is forgotten by 1/e in so many days
_SPREAD = 0.12  # concentration of tastes: the smaller, the fewer categories a user cares for

# Share of visits by the hour 0..22; nothing starts in the last hour, so that a visit ends on its own day.
_HOURS = np.array([1, 0.5, 0.3, 0.2, 0.2, 0.5, 1.5, 3, 4, 4.5, 5, 5.5, 6.5, 5, 4.5, 4.5, 5, 5.5, 6.5, 8, 9, 8, 4])


@dataclass(frozen=True)
class Habits:
    """What a user likes and how: ``taste_first``/``taste_last`` ``[user, category]``, ``channels`` (cumulative)."""

    taste_first: Floats
    taste_last: Floats
    channels: Floats
    store: Ints
    hour_shift: Floats


@dataclass(frozen=True)
class Occasions:
    """Visits and orders, by user and time.

    ``kind`` is the position in ``process.COUNTS``; ``at`` is in days; ``categories`` is ``[occasion, line]`` (the first
    is what the visit is about) and ``lines`` is how many of them an order buys (0 for a visit without one).
    """

    user: Ints
    kind: Ints
    at: Floats
    channel: Ints
    categories: Ints
    lines: Ints


def draw_habits(users: int, city_store: Ints, rng: np.random.Generator) -> Habits:
    """Tastes at both ends of the simulated time (in between they drift linearly), channel habits, home stores."""
    wanted = np.array([c.wanted for c in CATEGORIES])
    concentration = _SPREAD * len(CATEGORIES) * wanted / wanted.sum() * 2
    first = rng.gamma(concentration, size=(users, len(CATEGORIES))) + 1e-4
    new = rng.gamma(concentration, size=(users, len(CATEGORIES))) + 1e-4
    first /= first.sum(axis=1, keepdims=True)
    last = 0.3 * first + 0.7 * new / new.sum(axis=1, keepdims=True)
    channels = rng.dirichlet(np.array([1.2, 0.6, 0.8, 0.4]), size=users).cumsum(axis=1)
    return Habits(first, last, channels, city_store, rng.normal(0, 2.5, users))


def draw_occasions(people: People, habits: Habits, rng: np.random.Generator) -> Occasions:
    """One occasion per count of the process, each on its day."""
    kinds, users, days = np.nonzero(people.counts)
    times = people.counts[kinds, users, days]
    kind, user, day = (np.repeat(part, times) for part in (kinds, users, days))
    at = _instants(people.registered[user], day, habits.hour_shift[user], rng)
    order = np.lexsort((at, user))
    kind, user, at = kind[order], user[order], at[order]
    channel = (rng.random(len(user))[:, None] > habits.channels[user]).sum(axis=1).clip(max=len(CHANNELS) - 1)
    lines = np.where(kind == 2, 1 + rng.poisson(0.9, len(user)).clip(max=LINES - 1), 0)
    categories = _choose(user, at, lines, habits, people.counts.shape[2], rng)
    return Occasions(user, kind, at, channel, categories, lines)


def _instants(registered: Floats, day: Ints, shift: Floats, rng: np.random.Generator) -> Floats:
    edges = np.concatenate([[0.0], _HOURS.cumsum() / _HOURS.sum()])
    hour = np.interp(rng.random(len(day)), edges, np.arange(24.0)) + shift
    hour = np.abs(hour)  # habits move the clock; what falls off one end of the day is folded back
    hour = np.where(hour > 23, 46 - hour, hour).clip(0.01, 22.9)
    opens = np.where(registered >= day, registered - day, 0.0) + MINUTE
    return np.asarray(day + opens + (23 / 24 - opens) * hour / 23)


def _choose(user: Ints, at: Floats, lines: Ints, habits: Habits, days: int, rng: np.random.Generator) -> Ints:
    """``[occasion, line]``: categories drawn without replacement by taste x how due x recent interest.

    The k-th occasions of all users are drawn together; each sees only its user's earlier ones.
    """
    users = len(habits.store)
    intervals = np.array([c.interval_days for c in CATEGORIES])
    bought_at = np.full((users, len(CATEGORIES)), -np.inf)
    interest = np.zeros((users, len(CATEGORIES)))
    seen_at = np.zeros(users)
    starts = np.searchsorted(user, np.arange(users))
    counts = np.diff(np.append(starts, len(user)))
    result = np.empty((len(user), LINES), dtype=np.int64)
    busiest = np.argsort(-counts, kind="stable")
    for k in range(int(counts.max(initial=0))):
        who = busiest[: np.searchsorted(-counts[busiest], -k, side="left")]  # those with more than k occasions
        row = starts[who] + k
        now = at[row]
        part = (now / days)[:, None]
        taste = (1 - part) * habits.taste_first[who] + part * habits.taste_last[who]
        # Soon after a purchase the category is satisfied; it is due again around its interval.
        age = (now[:, None] - bought_at[who]) / intervals
        due = np.where(np.isinf(age), 0.6, 1.0 / (1.0 + age.clip(1e-3, 50.0) ** -6.0))
        interest[who] *= np.exp(-(now - seen_at[who]) / _INTEREST_DAYS)[:, None]
        seen_at[who] = now
        score = np.log(taste * (due + 0.003) * (1.0 + 2.0 * interest[who])) + rng.gumbel(size=taste.shape)
        best = np.argsort(-score, axis=1)[:, :LINES]
        result[row] = best
        interest[who, best[:, 0]] += 1.0
        for line in range(LINES):
            buys = lines[row] > line
            bought_at[who[buys], best[buys, line]] = now[buys]
    return result
