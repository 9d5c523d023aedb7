"""Which offers are shown, and the exact probability of each at its rank.

One definition for both modes. With probability ``mix`` the answer is a uniformly random order of all ``n`` candidates;
else it is the policy's own order: the greedy one (``epsilon``), or one drawn by the Plackett-Luce rule from the best
``top_k`` with weights ``exp(priority / (temperature * best priority))`` (``softmax``), followed by the others in greedy
order. The first ``limit`` of the order are shown. Hence, with ``M`` the probability under the policy's own order,

    P(a is shown at rank r) = (1 - mix) * M[a, r] + mix / n

which is the marginal at the rank, not given the ranks above. ``M`` is 0 or 1 in the greedy order; for Plackett-Luce it
is a recursion over the sets that may fill the ranks above (``top_k`` at most 8: 256 sets), exact up to rounding.
``epsilon`` sets ``mix = epsilon``; a softmax's ``floor`` sets ``mix = floor * n``, so that every candidate keeps at
least the floor at every rank, unless that exceeds the largest ``mix`` allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["MOST_TOP_K", "Explore", "Slate", "explore"]

MOST_TOP_K = 8


class Explore(NamedTuple):
    """How far a decision may leave the greedy order; ``most_mix`` is the configured maximum of the random share."""

    mode: str
    epsilon: float
    temperature: float
    top_k: int
    floor: float
    most_mix: float

    def mix(self, n: int) -> float:
        """The probability of a uniformly random order among ``n`` candidates, in [0, most_mix]."""
        return min(self.epsilon if self.mode == "epsilon" else self.floor * n, self.most_mix)


class Slate(NamedTuple):
    """The shown candidates (places in the greedy order), the probability of each at its rank."""

    order: tuple[int, ...]
    probabilities: tuple[float, ...]
    mix: float
    explored: bool


def explore(priorities: Sequence[float], limit: int, how: Explore, throw: Callable[[], float]) -> Slate:
    """Draw the answer among candidates in greedy order (``priorities`` falling, above 0).

    Examples
    --------
    >>> explore([3.0, 2.0, 1.0], 2, Explore("epsilon", 0.0, 0.1, 5, 0.0, 0.1), lambda: 0.5)
    Slate(order=(0, 1), probabilities=(1.0, 1.0), mix=0.0, explored=False)
    """
    n = len(priorities)
    shown = min(limit, n)
    mix = how.mix(n) if n else 0.0
    uniform = throw() < mix
    if how.mode == "softmax" and n > 1:
        top = min(how.top_k, n)
        weights = [math.exp((p / priorities[0] - 1.0) / how.temperature) for p in priorities[:top]]
        weights = [max(weight, 1e-12) for weight in weights]
        own = plackett_luce(weights, shown)
        order = _uniform(n, shown, throw) if uniform else _drawn(weights, n, shown, throw)
    else:
        own = None
        order = _uniform(n, shown, throw) if uniform else list(range(shown))
    probabilities = tuple(
        (1.0 - mix) * (float(a == r) if own is None or r >= len(own) else own[r][a] if a < len(own[r]) else 0.0)
        + mix / n
        for r, a in enumerate(order)
    )
    return Slate(tuple(order), probabilities, mix, order != list(range(shown)))


def plackett_luce(weights: Sequence[float], ranks: int) -> list[list[float]]:
    """``[rank][candidate]``: the probability of each at each of the first ranks, drawn without replacement.

    Examples
    --------
    >>> plackett_luce([2.0, 1.0, 1.0], 2)[0]
    [0.5, 0.25, 0.25]
    """
    everything = (1 << len(weights)) - 1
    reached = {0: 1.0}  # P(the ranks so far hold exactly this set)
    answer: list[list[float]] = []
    for _ in range(min(ranks, len(weights))):
        row = [0.0] * len(weights)
        following: dict[int, float] = {}
        for taken, p in reached.items():
            left = [(a, w) for a, w in enumerate(weights) if not taken >> a & 1]
            total = math.fsum(w for _, w in left)
            for a, w in left:
                step = p * (w / total)
                row[a] += step
                joined = taken | 1 << a
                if joined != everything:
                    following[joined] = following.get(joined, 0.0) + step
        answer.append(row)
        reached = following
    return answer


def _drawn(weights: Sequence[float], n: int, shown: int, throw: Callable[[], float]) -> list[int]:
    left = list(range(len(weights)))
    order: list[int] = []
    while left and len(order) < shown:
        point = throw() * math.fsum(weights[a] for a in left)
        place = 0
        while place < len(left) - 1 and point >= weights[left[place]]:
            point -= weights[left[place]]
            place += 1
        order.append(left.pop(place))
    return order + list(range(len(weights), n))[: shown - len(order)]


def _uniform(n: int, shown: int, throw: Callable[[], float]) -> list[int]:
    pool = list(range(n))
    for r in range(shown):
        other = r + int(throw() * (n - r))
        pool[r], pool[other] = pool[other], pool[r]
    return pool[:shown]
