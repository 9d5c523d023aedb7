"""Judge heads that were fitted to what was known on a past day by what users bought after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from serving.scoring.interest.model import FEATURES
from serving.scoring.interest.needs import DAY_US
from training.curves import curves_of
from training.evaluate import Interval, evaluate, metrics_of
from training.interest.examples import Asked, Known, ask
from training.interest.fit import FittedHead
from training.interest.histories import Histories
from training.interest.ranking import (
    K,
    Task,
    as_json,
    list_scores,
    mean_interval,
    ranking_metrics,
    scattered,
    task_of,
    top,
)

__all__ = ["RHYTHM", "JudgedHead", "judge_head", "judge_needs", "satisfied_share", "without"]

Floats = NDArray[np.float64]

# What each baseline knows of a pair, as a column of the features.
COLUMNS = {"personal_frequency": "own_orders", "popularity": "popularity_now", "item_item_counts": "link_together"}
# The features that place a user in the rhythm of a category: what "need satisfied" is measured without and with.
RHYTHM = (
    "own_place_days",
    "own_place_orders",
    "own_hazard",
    "category_place_days",
    "need_place",
    "need_satisfied",
)
MOST_CANDIDATES = 200


@dataclass(frozen=True)
class JudgedHead:
    """Metrics with intervals, the same of each baseline, and what `curves_of` says.

    ``asked`` are the candidates of the users of ``task``, ``scores`` by what ours and each baseline orders them;
    ``pairs`` are the users and labels that were judged, and the probability that ours and each baseline gave.
    """

    metrics: dict[str, Any]
    baselines: dict[str, dict[str, float]]
    curve: Any
    task: Task
    asked: Asked = field(repr=False)
    scores: dict[str, NDArray[np.float32]] = field(repr=False)
    pairs: dict[str, NDArray[Any]] = field(repr=False)


def judge_head(
    histories: Histories,
    known: Known,
    fitted: FittedHead,
    later: Asked,
    horizon_days: float,
    users: NDArray[np.int64],
    seed: int,
) -> JudgedHead:
    """Probabilities on the pairs of ``users`` (rising positions), rankings on those of them who bought.

    ``later`` are the pairs of the calibration origin: from them the baselines learn their probabilities.
    """
    head, rng = fitted.head, np.random.default_rng(seed)
    asked = ask(histories, known, head, horizon_days, users, rng)
    raw = fitted.raw(asked.x)
    pairs = {"user": asked.user_of, "code": asked.code, "y": asked.y, "ours": fitted.calibrator(raw)}
    pairs |= {name: _logistic(later, asked, column) for name, column in COLUMNS.items()}
    found = evaluate(asked.y, pairs["ours"], pairs["user"], raw, seed=seed)
    task = task_of(histories, known, head, round(horizon_days * DAY_US), users)
    wide = ask(histories, known, head, horizon_days, task.user, rng, most=MOST_CANDIDATES, blind=0)
    items = known.statistics[head].items
    scores = {"ours": scattered(wide, fitted.raw(wide.x), items, task), **list_scores(histories, known, head, task)}
    lists = {name: ranking_metrics(task, one, seed) for name, one in scores.items()}
    baselines = {
        name: {
            **metrics_of(asked.y, pairs[name]),
            **{metric: one.value for metric, one in lists[name].items()},
        }
        for name in COLUMNS
    }
    metrics = as_json({**found, **lists["ours"]})
    metrics["buyers"] = {"value": float(len(task.user)), "ci": None}
    curve = curves_of(asked.y, pairs["ours"], raw, {name: pairs[name] for name in COLUMNS})
    return JudgedHead(metrics, baselines, curve, task, wide, scores, pairs)


def judge_needs(histories: Histories, known: Known, item: JudgedHead, blind: FittedHead, seed: int) -> None:
    """Add to the item head how many of its lists of ten lie in a satisfied window, with and without the rhythm.

    ``_before``: ordered by ``blind``, which knows no rhythm; ``_ranked``: by ours; ``_after``: by ours, and satisfied
    categories left out, as a decision leaves them out. ``recall@10_suppressed`` says what leaving out costs.
    """
    satisfied = _satisfied(histories, known, item.task)
    wide = without(item.asked, RHYTHM)
    before = scattered(wide, blind.raw(wide.x), known.statistics["item"].items, item.task)
    after = np.where(satisfied, np.float32(-np.inf), item.scores["ours"])
    lists = {"before": before, "ranked": item.scores["ours"], "after": after}
    for name, scores in lists.items():
        share = satisfied_share(satisfied, scores, seed)
        item.metrics[f"satisfied_share@{K}_{name}"] = share.as_json()
    left = ranking_metrics(item.task, after, seed)
    for name in (f"recall@{K}", f"ndcg@{K}"):
        item.metrics[f"{name}_suppressed"] = left[name].as_json()
    for name, numbers in item.baselines.items():
        numbers[f"satisfied_share@{K}"] = satisfied_share(satisfied, item.scores[name], seed).value


def satisfied_share(satisfied: NDArray[np.bool_], scores: NDArray[np.float32], seed: int) -> Interval:
    """Of the lists of ten, the share of items whose category was bought too lately to be wanted again."""
    best = top(scores, K)
    inside = np.take_along_axis(satisfied, np.maximum(best, 0), axis=1) & (best >= 0)
    count = (best >= 0).sum(axis=1)
    return mean_interval(inside.sum(axis=1)[count > 0] / count[count > 0], seed)


def _satisfied(histories: Histories, known: Known, task: Task) -> NDArray[np.bool_]:
    """Whether the category of each item is satisfied: bool[m, I]."""
    statistics = known.statistics["item"]
    mask = np.zeros(task.wanted.shape, dtype=np.bool_)
    for row, history in enumerate(histories.at(known.as_of_us, task.user)):
        columns = known.needs.columns(history, known.as_of_us, statistics.categories)
        mask[row] = (columns[:, 1] > 0)[statistics.category_of]
    return mask


def without(pairs: Asked, names: Sequence[str]) -> Asked:
    """The pairs as somebody sees them who does not know these features."""
    x = pairs.x.copy()
    x[:, [FEATURES.index(name) for name in names]] = np.nan
    return Asked(pairs.head, pairs.user, pairs.start, pairs.code, x, pairs.y, pairs.offset)


def _logistic(learn: Asked, judged: Asked, column: str) -> Floats:
    place = FEATURES.index(column)
    model = LogisticRegression(C=100.0, max_iter=300)
    one, other = (_logs(pairs.x[:, place]) for pairs in (learn, judged))
    center, spread = float(one.mean()), max(float(one.std()), 1e-9)
    model.fit((one - center) / spread, learn.y)
    return np.asarray(model.predict_proba((other - center) / spread)[:, 1], dtype=np.float64)


def _logs(values: NDArray[np.float32]) -> Floats:
    return np.log1p(1000.0 * np.nan_to_num(values.astype(np.float64))).reshape(-1, 1)
