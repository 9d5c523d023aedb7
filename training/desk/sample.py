"""Whom a version is asked about when it is explained or compared: everybody today that each head has an answer for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config, model_of
from features.events import span
from features.periods import as_utc, midnight
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from training.dataset import assemble
from training.explain import Scorer
from training.interest.examples import Asked
from training.interest.histories import Histories, read_histories

__all__ = ["Sample", "sample_of", "sample_of_pairs", "sample_of_users"]


@dataclass(frozen=True)
class Sample:
    """Rows by head: ``x[head]`` float64[n, f] in the columns that the head reads, ``users[head]`` their ids.

    ``items[head]`` names the item or category of each row, where pairs are asked about, ``categories[head]`` the
    category of each, None where nobody knows it.
    """

    as_of: datetime
    x: Mapping[str, NDArray[np.float64]] = field(repr=False)
    users: Mapping[str, NDArray[np.object_]] = field(repr=False)
    items: Mapping[str, NDArray[np.object_]] = field(repr=False, default_factory=dict)
    categories: Mapping[str, NDArray[np.object_]] = field(repr=False, default_factory=dict)


def sample_of(config: Config, model: Scorer) -> Sample:
    """Whom the training of a registered version asked: by today's events, if some that came late have joined them."""
    # It reads this module.
    from training.interest.train import learner_of

    until = as_utc(model.meta["known_until"])
    if not isinstance(model, InterestModel):
        return sample_of_users(model, assemble(config, [midnight(until)]).frame, midnight(until))
    histories = read_histories(config, until)
    learner = learner_of(
        config, model_of(config, model.name), histories, span(config)[0], lambda message, fraction: None
    )
    at = learner.grid_before(midnight(until))
    return sample_of_pairs({head: learner.asked(at, head, sample=False) for head in model.heads}, histories, at)


def sample_of_users(model: Model, frame: pd.DataFrame, as_of: datetime) -> Sample:
    """The cohort of each head among the rows of a training set's ``frame`` at ``as_of``, in the order of their ids."""
    rows = frame[frame["as_of"] == pd.Timestamp(as_of)].sort_values("user_id")
    x, users = rows[list(model.features)].to_numpy(np.float64), rows["user_id"].to_numpy(object)
    inside = {head: model.in_cohort(x, head) for head in model.heads}
    return Sample(
        as_of, {head: x[mask] for head, mask in inside.items()}, {head: users[mask] for head, mask in inside.items()}
    )


def sample_of_pairs(asked: Mapping[str, Asked], histories: Histories, as_of: datetime) -> Sample:
    """The pairs that calibrated each head, at ``as_of``."""
    names = {"item": histories.item_names, "category": histories.category_names}
    return Sample(
        as_of,
        {head: np.asarray(pairs.x, np.float64) for head, pairs in asked.items()},
        {head: histories.users[pairs.user_of] for head, pairs in asked.items()},
        {
            head: np.array([names[head].get(code) for code in pairs.code.tolist()], object)
            for head, pairs in asked.items()
        },
        {head: histories.categories_of(head, pairs.code) for head, pairs in asked.items()},
    )
