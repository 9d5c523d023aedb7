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
from training.evaluate import calibration_curve, evaluate, metrics_of
from training.interest.examples import Asked, Known, ask
from training.interest.fit import FittedHead
from training.interest.histories import Histories
from training.interest.ranking import K, Task, as_json, list_scores, ranking_metrics, scattered, task_of, top

__all__ = ["RHYTHM", "JudgedHead", "judge_head", "satisfied_share"]

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
    """Metrics with intervals, the same of each baseline, and the calibration curve.

    ``asked`` are the candidates of the users of ``task``, ``scores`` by what ours and each baseline orders them.
    """

    metrics: dict[str, Any]
    baselines: dict[str, dict[str, float]]
    curve: Any
    task: Task
    asked: Asked = field(repr=False)
    scores: dict[str, NDArray[np.float32]] = field(repr=False)


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
    found = evaluate(asked.y, fitted.calibrator(raw), asked.user_of, raw, seed=seed)
    task = task_of(histories, known, head, round(horizon_days * DAY_US), users)
    wide = ask(histories, known, head, horizon_days, task.user, rng, most=MOST_CANDIDATES, blind=0)
    items = known.statistics[head].items
    scores = {"ours": scattered(wide, fitted.raw(wide.x), items, task), **list_scores(histories, known, head, task)}
    lists = {name: ranking_metrics(task, one, seed) for name, one in scores.items()}
    baselines = {
        name: {
            **metrics_of(asked.y, _logistic(later, asked, column)),
            **{metric: one.value for metric, one in lists[name].items()},
        }
        for name, column in COLUMNS.items()
    }
    metrics = as_json({**found, **lists["ours"]})
    metrics["buyers"] = {"value": float(len(task.user)), "ci": None}
    curve = calibration_curve(asked.y, fitted.calibrator(raw))
    return JudgedHead(metrics, baselines, curve, task, wide, scores)


def satisfied_share(histories: Histories, known: Known, task: Task, scores: NDArray[np.float32]) -> float:
    """The share of the items in lists of ten whose category the user bought too lately to want it again."""
    statistics = known.statistics["item"]
    best = top(scores, K)
    category = np.where(best >= 0, statistics.categories[statistics.category_of[best]], 0)
    inside = 0
    for history, row in zip(histories.at(known.as_of_us, task.user), category.tolist(), strict=True):
        satisfied = {code for code, need in known.needs.of(history, known.as_of_us).items() if need.satisfied}
        inside += sum(code in satisfied for code in row)
    return inside / max(int((best >= 0).sum()), 1)


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
