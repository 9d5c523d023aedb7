"""How good are lists of ten? Recall and NDCG with intervals from resampled users; repeat and first-time apart.

``repeat``: among what the user bought before, does the list of ten name what is bought again? ``first``: the same among
what the user never bought. Both with the method's own order, so that a list full of habits cannot hide the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from serving.scoring.interest.statistics import places
from training.evaluate import Interval
from training.interest.examples import Asked, Known
from training.interest.histories import Histories

__all__ = [
    "K",
    "Task",
    "as_json",
    "list_scores",
    "mean_interval",
    "ranking_metrics",
    "ranking_values",
    "scattered",
    "task_of",
    "top",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Scores = NDArray[np.float32]

K = 10
RESAMPLES = 200


@dataclass(frozen=True)
class Task:
    """Users who bought in the label window, and what; m users, I items (or categories) of the statistics.

    ``wanted`` bool[m, I]; ``unheard`` float64[m] counts what they bought that nobody had bought or seen before;
    ``before`` float32[m, I]: how many purchase lines of each the user had at the origin.
    """

    user: Ints
    wanted: NDArray[np.bool_]
    unheard: Floats
    before: Scores


def task_of(histories: Histories, known: Known, head: str, horizon_us: int, users: Ints) -> Task:
    """Whom of ``users`` (rising) the ranking is judged on, and by what."""
    items = known.statistics[head].items
    followed = histories.bought(head, known.as_of_us, known.as_of_us + horizon_us)
    followed_at = places(users, followed.user)
    inside = followed_at >= 0
    buyers = np.unique(followed_at[inside])
    row, place = places(buyers, followed_at[inside]), places(items, followed.code[inside])
    wanted = np.zeros((len(buyers), len(items)), dtype=np.bool_)
    wanted[row[place >= 0], place[place >= 0]] = True
    unheard = np.bincount(row[place < 0], minlength=len(buyers)).astype(np.float64)
    count = _purchases(histories, known, head)
    return Task(users[buyers], wanted, unheard, count[users[buyers]].toarray().astype(np.float32))


def list_scores(histories: Histories, known: Known, head: str, task: Task) -> dict[str, Scores]:
    """By what each baseline orders: own purchases, popularity, purchases by those who bought the same."""
    statistics = known.statistics[head]
    popular = np.empty(len(statistics.items), dtype=np.float32)
    popular[statistics.popular] = np.linspace(1.0, 0.0, len(popular), endpoint=False, dtype=np.float32)
    bought = _purchases(histories, known, head)
    bought.data = np.minimum(bought.data, 1.0)
    together = (bought.T @ bought).tolil()
    together.setdiag(0)
    near = (sparse.csr_matrix(task.before > 0, dtype=np.float32) @ together.tocsr()).toarray().astype(np.float32)
    return {
        "personal_frequency": task.before + 0.5 * popular,
        "popularity": np.tile(popular, (len(task.user), 1)),
        "item_item_counts": near + 0.5 * popular,
    }


def scattered(asked: Asked, raw: Floats, items: Ints, task: Task) -> Scores:
    """The margins of asked pairs as float32[m, I]; what was no candidate comes last."""
    scores = np.full((len(task.user), len(items)), -np.inf, dtype=np.float32)
    row = places(task.user, asked.user_of)
    kept = row >= 0
    scores[row[kept], places(items, asked.code[kept])] = raw[kept]
    return scores


def top(scores: Scores, k: int = K) -> Ints:
    """The places of the ``k`` best of each row, best first: int64[m, k]; -1 where fewer have a score."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)
    best[np.take_along_axis(scores, best, axis=1) == -np.inf] = -1
    return best


def ranking_values(task: Task, scores: Scores) -> dict[str, Floats]:
    """``recall@10`` and ``ndcg@10`` of each user, over all purchases, repeats and first purchases: float64[m].

    NaN for users who have none of the kind.
    """
    found: dict[str, Floats] = {}
    for suffix, among in (("", None), ("_repeat", task.before > 0), ("_first", task.before == 0)):
        allowed = scores if among is None else np.where(among, scores, np.float32(-np.inf))
        wanted = task.wanted if among is None else task.wanted & among
        size = wanted.sum(axis=1) + (task.unheard if suffix != "_repeat" else 0.0)
        recall, ndcg = _of_lists(top(allowed), wanted, size)
        found |= {f"recall@{K}{suffix}": recall, f"ndcg@{K}{suffix}": ndcg}
    return found


def ranking_metrics(task: Task, scores: Scores, seed: int) -> dict[str, Interval]:
    """The means of `ranking_values` over users."""
    return {name: mean_interval(values, seed) for name, values in ranking_values(task, scores).items()}


def _of_lists(best: Ints, wanted: NDArray[np.bool_], size: Floats) -> tuple[Floats, Floats]:
    hit = np.take_along_axis(wanted, np.maximum(best, 0), axis=1) & (best >= 0)
    gain = 1.0 / np.log2(np.arange(2, best.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, K + 2)))])
    of = np.maximum(size, 1.0)
    recall = hit.sum(axis=1) / of
    ndcg = (hit * gain).sum(axis=1) / ideal[np.minimum(of, K).astype(int)]
    return np.where(size > 0, recall, np.nan), np.where(size > 0, ndcg, np.nan)


def mean_interval(values: Floats, seed: int, user: Ints | None = None) -> Interval:
    """The mean of what is not NaN, and 95 % of the means when users are drawn again; each row is a user by default."""
    some = ~np.isnan(values)
    if not some.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    values = values[some]
    _, which = np.unique(np.arange(len(values)) if user is None else user[some], return_inverse=True)
    total, count = np.bincount(which, values), np.bincount(which).astype(np.float64)
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, len(total), len(total)) for _ in range(RESAMPLES))
    means = [total[rows].sum() / count[rows].sum() for rows in drawn]
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def as_json(found: Mapping[str, Interval]) -> dict[str, dict[str, object]]:
    """What a model card holds; what could not be measured is left out."""
    return {name: one.as_json() for name, one in found.items() if one.value == one.value}


def _purchases(histories: Histories, known: Known, head: str) -> sparse.csr_matrix:
    """Purchase lines at or before the instant: float32[users, I]."""
    items = known.statistics[head].items
    lines = histories.lines
    codes = getattr(lines, head)
    inside = (lines.at_us <= known.as_of_us) & (lines.kind == 0) & (codes != 0)
    place = places(items, codes[inside])
    shape = (len(histories.users), len(items))
    ones = np.ones(int(inside.sum()), dtype=np.float32)
    return sparse.csr_matrix((ones, (histories.user[inside], place)), shape=shape)
