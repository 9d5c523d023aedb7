"""Who could want what, when, and what followed: pairs of a user at an origin and an item (or category) with a label.

Every statistic, candidate and feature comes from lines at or before the origin, labels from ``(origin, origin + h]``.
Which pairs are asked depends on the past alone: candidates as in serving, and some drawn blindly, because an offer may
be about anything. So the share of buyers among pairs with the same features is the probability that serving states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.history import History
from serving.scoring.interest.candidates import candidates_of
from serving.scoring.interest.features import Pairs, featurise_pairs
from serving.scoring.interest.lines import lines_of
from serving.scoring.interest.model import as_head
from serving.scoring.interest.needs import DAY_US, Needs
from serving.scoring.interest.statistics import ItemStatistics, places
from training.interest.histories import Histories
from training.interest.needs import learn_needs
from training.interest.statistics import item_statistics

__all__ = ["CANDIDATES", "Asked", "Known", "ask", "known_at"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Candidates of one user, and how many pairs more are drawn blindly.
CANDIDATES, BLIND = 120, 12


@dataclass(frozen=True)
class Known:
    """What is known at one instant: the statistics of each head, and the rhythm of each category."""

    as_of_us: int
    statistics: dict[str, ItemStatistics]
    needs: Needs


@dataclass(frozen=True)
class Asked:
    """Pairs of one head, example by example; an example is a user at an origin.

    ``start`` int64[e + 1] bounds the pairs of each example; ``user`` int64[e] are positions in ``Histories.users``;
    ``x`` float32[n, f]; ``y`` 0 or 1; ``offset`` is the log-odds by which dropping negatives raised the rate.
    """

    head: str
    user: Ints
    start: Ints
    code: Ints
    x: NDArray[np.float32]
    y: Floats
    offset: Floats

    def __len__(self) -> int:
        return len(self.y)

    @property
    def user_of(self) -> Ints:
        """The user of each pair: int64[n]."""
        return np.repeat(self.user, np.diff(self.start))

    def thinned(self, negatives: float, rng: np.random.Generator) -> Asked:
        """The same with about ``negatives`` pairs without a purchase for each with one."""
        keep = min(1.0, negatives * self.y.sum() / max(len(self) - self.y.sum(), 1.0))
        kept = (self.y > 0) | (rng.random(len(self)) < keep)
        example = np.repeat(np.arange(len(self.user)), np.diff(self.start))[kept]
        return Asked(
            self.head,
            self.user,
            np.searchsorted(example, np.arange(len(self.user) + 1)).astype(np.int64),
            self.code[kept],
            self.x[kept],
            self.y[kept],
            self.offset[kept] - np.log(max(keep, 1e-9)),
        )

    @staticmethod
    def joined(parts: Sequence[Asked]) -> Asked:
        """The examples of several origins, one after the other."""
        sizes = np.concatenate([np.diff(part.start) for part in parts])
        return Asked(
            parts[0].head,
            np.concatenate([part.user for part in parts]),
            np.concatenate([[0], np.cumsum(sizes)]),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("code", "x", "y", "offset")),
        )


def known_at(histories: Histories, as_of_us: int, heads: Sequence[str], seed: int) -> Known:
    """Count everything at or before ``as_of_us``."""
    lines = [one for one in histories.at(as_of_us, most=len(histories.lines)) if len(one)]
    statistics = {head: item_statistics([as_head(one, head) for one in lines], as_of_us, seed=seed) for head in heads}
    return Known(as_of_us, statistics, learn_needs(histories, as_of_us))


def ask(
    histories: Histories,
    known: Known,
    head: str,
    horizon_days: float,
    users: Ints,
    rng: np.random.Generator,
    most: int = CANDIDATES,
    blind: int = BLIND,
) -> Asked:
    """The pairs of ``users`` (positions; each with at least one line) at the instant of ``known``."""
    statistics, as_of = known.statistics[head], known.as_of_us
    past = histories.at(as_of, users)
    lines = lines_of(statistics, [as_head(one, head) for one in past])
    e, width = len(users), len(statistics.items)
    start, row = candidates_of(statistics, lines, np.arange(e), np.full(e, as_of), most)
    example = np.repeat(np.arange(e), np.diff(start))
    key = np.unique(example * np.int64(width) + row)
    drawn = np.repeat(np.arange(e), blind) * np.int64(width) + rng.integers(0, max(width, 1), e * blind)
    key = np.union1d(key, drawn) if width else key
    followed = histories.bought(head, as_of, as_of + round(horizon_days * DAY_US))
    place, which = places(statistics.items, followed.code), _positions(users, followed.user)
    bought = (which * np.int64(width) + place)[(place >= 0) & (which >= 0)]
    y = np.isin(key, bought)
    example, row = key // width, (key % width).astype(np.int32)
    start = np.searchsorted(example, np.arange(e + 1)).astype(np.int64)
    pairs = Pairs(np.arange(e), np.full(e, as_of), start, row, statistics.category_of[row])
    x = featurise_pairs(statistics, lines, pairs, np.float32)
    category = statistics.items[row] if head == "category" else statistics.categories[statistics.category_of[row]]
    needs = _needs(known.needs, past, as_of, start, category)
    x = np.column_stack([x, needs])
    return Asked(head, users, start, statistics.items[row], x, y.astype(np.float64), np.zeros(len(y)))


def _positions(users: Ints, asked: Ints) -> Ints:
    """Where each of ``asked`` stands in ``users``, -1 where it does not."""
    order = np.argsort(users)
    found = places(users[order], asked)
    return np.where(found >= 0, order[found], -1)


def _needs(needs: Needs, past: Sequence[History], as_of_us: int, start: Ints, category: Ints) -> NDArray[np.float32]:
    columns = np.empty((len(category), 2), dtype=np.float32)
    for k, history in enumerate(past):
        rows = slice(int(start[k]), int(start[k + 1]))
        columns[rows] = needs.columns(history, as_of_us, category[rows])
    return columns
