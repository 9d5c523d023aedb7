"""Judge a model's procedure: fit it to what was known on a past day, and look at what followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.catalog import NAMES
from training.baselines import baselines
from training.curves import curves_of
from training.dataset import TrainingSet
from training.evaluate import evaluate, metrics_of
from training.labels import MONTH_HORIZON
from training.models import Fitted, learn, raw_scores
from training.prepare import Prepared, prepare
from training.splits import Split
from training.stack import Family, Rows, families, stack

__all__ = ["Judged", "Numbers", "Question", "Said", "horizons_of", "judge", "question"]

Numbers = dict[str, dict[str, Any]]
Floats = NDArray[np.float64]

# With fewer of either kind no interval says anything.
LEAST_OF_A_KIND = 5


@dataclass(frozen=True)
class Said:
    """What was said of ``rows``, whose labels followed: probability, raw score, and each baseline's probability."""

    rows: Rows
    probability: Floats
    raw: Floats
    baselines: dict[str, Floats]


@dataclass(frozen=True)
class Judged:
    """Metrics, baselines and curves (`curves_of`) of each head; the fit of each family; why others were left out.

    ``said`` is what was said of each head, ``learned_until`` the end of the last label that each family learned.
    """

    metrics: Numbers = field(default_factory=dict)
    baselines: Numbers = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    fits: dict[str, Fitted] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    learned_until: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """A family at a past origin: what was known then, prepared to learn from, and by head what followed."""

    family: Family
    learned: Rows
    prepared: Prepared
    followed: dict[str, Rows]


def judge(config: Config, model: ModelConfig, data: TrainingSet, split: Split) -> Judged:
    """Fit on what was known at ``split.judge`` and measure on what followed it.

    A family that the data cannot teach, or cannot judge, is left out with the reason: a shop without visitors who
    never bought has no first orders to foresee.

    Raises
    ------
    TrainingError
        When no family is left.
    """
    judged = Judged()
    for family in families(model):
        try:
            _judge(config, model, data, split, family, judged)
        except TrainingError as error:
            judged.left_out[family.name] = error.words
    if not judged.fits:
        why = {name: words["en"] for name, words in judged.left_out.items()}
        raise TrainingError(f"{model.name}: nothing can be learned", got=why, run="userops status")
    return judged


def horizons_of(model: ModelConfig) -> list[float]:
    """How many days after an origin each head's label is known, at the latest."""
    return [float(definition.get("horizon_days", MONTH_HORIZON)) for definition in model.heads.values()]


def question(
    model: ModelConfig, data: TrainingSet, family: Family, origin: datetime, known_until: datetime, seed: int
) -> Question:
    """What ``family`` would have been asked at ``origin``; the answers are labels that are known at ``known_until``.

    Raises
    ------
    TrainingError
        When there is too little to learn from, or to judge a head by.
    """
    past, present = data.frame[data.frame["as_of"] < origin], data.at([origin])
    followed = {head: _followed(model, head, present, origin, known_until, family) for head in family.heads}
    rows, ahead = stack(past, family, NAMES, origin), stack(present, family, NAMES, None)
    return Question(family, rows, prepare(rows, ahead, family, NAMES, data.first_day, seed), followed)


def _judge(config: Config, model: ModelConfig, data: TrainingSet, split: Split, family: Family, judged: Judged) -> None:
    asked = question(model, data, family, split.judge, split.known_until, config.seed)
    fitted = learn(asked.prepared, config.threads, model.lightgbm)
    judged.fits[family.name] = fitted
    judged.learned_until[family.name] = float(asked.learned.end.max())
    for head, known in asked.followed.items():
        horizon = model.heads[head].get("horizon_days")
        learned = asked.learned.where(asked.learned.horizon == (horizon or 0.0))
        probability = fitted.probability(known.x, horizon)
        raw = raw_scores(fitted.booster, known.x)
        found = evaluate(known.y, probability, known.user, raw, seed=config.seed)
        judged.metrics[head] = {name: interval.as_json() for name, interval in found.items()}
        given = baselines(family, horizon, learned, known, NAMES)
        judged.baselines[head] = {name: metrics_of(known.y, p) for name, p in given.items()}
        judged.curves[head] = curves_of(known.y, probability, raw, given)
        judged.said[head] = Said(known, probability, raw, given)


def _followed(
    model: ModelConfig, head: str, present: pd.DataFrame, origin: datetime, known_until: datetime, family: Family
) -> Rows:
    horizon = model.heads[head].get("horizon_days")
    known = stack(present, family, NAMES, known_until, None if horizon is None else [horizon])
    positives = int(known.y.sum())
    if min(positives, len(known) - positives) < LEAST_OF_A_KIND:
        raise TrainingError(
            f"{head} cannot be judged",
            zh=f"{head} 无法评估：{origin:%Y-%m-%d} 之后，{len(known)} 名用户中有 {positives} 名发生；"
            f"发生与未发生各需至少 {LEAST_OF_A_KIND} 名",
            got=f"{positives} of {len(known)} users positive after {origin:%Y-%m-%d}",
            expected=f"at least {LEAST_OF_A_KIND} of either kind",
        )
    return known
