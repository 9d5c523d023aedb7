"""``userops benchmark interest``: the procedure of ``userops train interest``, judged on rolling calendar origins.

At each origin everything is learned anew from what was known then. Users are judged at every origin at which they
bought within the horizon; intervals come from drawing users, with all their origins.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import Config, model_of
from configs.errors import TrainingError
from features.events import span
from features.periods import midnight
from serving.scoring.interest.model import NAME
from training.benchmark import ingested
from training.evaluate import evaluate, metrics_of
from training.interest.histories import read_histories
from training.interest.judge import COLUMNS, JudgedHead, judge_head
from training.interest.procedure import Learner
from training.interest.ranking import as_json, mean_interval, ranking_values
from training.interest.train import learner_of, left_out

__all__ = ["benchmark_interest"]

Progress = Callable[[str, float], None]

ORIGINS, APART_DAYS = 4, 56
SHOWN = ("recall@10", "ndcg@10")


def benchmark_interest(
    config: Config, source: str | Path, data: Path, progress: Progress | None = None, origins: int = ORIGINS
) -> dict[str, Any]:
    """Which items and categories are bought next, beside personal frequency, popularity and item-item counts.

    Returns
    -------
    dict
        ``metrics["item.recall@10"]`` and so on with 95 % intervals; ``_repeat`` and ``_first`` tell purchases of what
        was bought before from first ones; the same of each baseline; ratios of recall and NDCG (above 1: ours is
        better); settings, versions, seconds, peak memory.

    Raises
    ------
    TrainingError
        When the source names no items or categories, or its history is too short for one origin.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    with ingested(config, source, data, show) as config:
        first, last = span(config)
        histories = read_histories(config, last)
    if (reason := left_out(histories)) is not None:
        raise TrainingError("no interest can be learned", because=reason["en"])
    model = model_of(config, NAME)
    learner = learner_of(config, model, histories, first, lambda message, _: None)
    newest = learner.grid_before(midnight(last))
    # Apart by whole steps of the grid, so that origins share what was counted.
    apart = timedelta(days=max(1, round(APART_DAYS / model.origins.every_days)) * model.origins.every_days)
    judged: dict[str, list[JudgedHead]] = {head: [] for head in learner.heads}
    judged_on: list[str] = []
    for number in reversed(range(origins)):
        at = newest - number * apart
        show(f"{at:%Y-%m-%d}", 0.05 + 0.9 * (origins - 1 - number) / origins)
        try:
            fitted = learner.fit(at)
        except TrainingError:
            if number == 0:
                raise
            continue  # the oldest origins have too little before them
        for head in learner.heads:
            one = judge_head(
                histories,
                learner.known(at),
                fitted.heads[head],
                fitted.later[head],
                learner.horizon_days,
                learner.users(at),
                config.seed,
            )
            judged[head].append(one)
        judged_on.append(f"{at:%Y-%m-%d}")
    metrics, baselines, ratios = _pooled(judged, config.seed)
    return {
        "benchmark": "interest",
        "metrics": metrics,
        "baselines": baselines,
        "ratios": ratios,
        "settings": _settings(source, learner, judged_on, judged),
        "versions": {name: version(name) for name in ("userops", "lightgbm", "scikit-learn", "duckdb")},
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _pooled(
    judged: dict[str, list[JudgedHead]], seed: int
) -> tuple[dict[str, Any], dict[str, dict[str, float]], dict[str, float]]:
    """All origins together."""
    metrics: dict[str, Any] = {}
    baselines: dict[str, dict[str, float]] = {name: {} for name in COLUMNS}
    ratios: dict[str, float] = {}
    for head, each in judged.items():
        pairs = {name: np.concatenate([one.pairs[name] for one in each]) for name in each[0].pairs}
        user = np.concatenate([one.task.user for one in each])
        ours = _values(each, "ours")
        found = evaluate(pairs["y"], pairs["ours"], pairs["user"], seed=seed)
        found |= {name: mean_interval(values, seed, user) for name, values in ours.items()}
        metrics |= {f"{head}.{name}": value for name, value in as_json(found).items()}
        for name in COLUMNS:
            values = {metric: float(np.nanmean(one)) for metric, one in _values(each, name).items()}
            values |= metrics_of(pairs["y"], pairs[name])
            baselines[name] |= {f"{head}.{metric}": value for metric, value in values.items()}
            for metric in SHOWN:
                ratios[f"ours_vs_{name}.{head}.{metric}"] = found[metric].value / max(values[metric], 1e-9)
    return metrics, baselines, ratios


def _values(each: list[JudgedHead], name: str) -> dict[str, NDArray[np.float64]]:
    """The ranking of every user at every origin."""
    found = [ranking_values(one.task, one.scores[name]) for one in each]
    return {metric: np.concatenate([one[metric] for one in found]) for metric in found[0]}


def _settings(
    source: str | Path, learner: Learner, judged_on: list[str], judged: dict[str, list[JudgedHead]]
) -> dict[str, Any]:
    return {
        "source": str(source),
        "horizon_days": learner.horizon_days,
        "judged_on": judged_on,
        "buyers": {head: [len(one.task.user) for one in each] for head, each in judged.items()},
        "items": len(learner.histories.item_names),
        "categories": len(learner.histories.category_names),
        "users": len(learner.histories.users),
        "by_origin": {
            head: [{name: one.metrics[name]["value"] for name in SHOWN} for one in each]
            for head, each in judged.items()
        },
    }
