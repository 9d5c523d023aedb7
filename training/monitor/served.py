"""What the service was given, from the decision log's export: beside the training, and beside the same users offline.

The users who ask are not the users who were learned from: more active, mostly. So served vectors stand beside the
reference for information; what must not differ is what the feature store says offline of the same users at the same
instants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs import Config
from configs.errors import FeatureError
from features import snapshots
from features.catalog import NAMES
from features.store import Store
from serving.scoring.model import Model
from training.monitor.counts import count
from training.monitor.reference import COHORT, Reference, population
from training.monitor.shifts import Shift, shifts

__all__ = ["Served", "read_vectors", "served_shifts"]


@dataclass(frozen=True)
class Served:
    """How many people's vectors were looked at, how they stand to the training and to the same people offline."""

    users: int
    to_training: list[Shift]
    to_offline: list[Shift]


def read_vectors(file: Path) -> pd.DataFrame:
    """The last vector of each user in an export of decisions: ``user_id``, ``as_of`` and every catalogue feature.

    Vectors from before features were added or removed are left out.

    Raises
    ------
    FeatureError
        When there are only such vectors.
    """
    table = pq.read_table(file, columns=["user_id", "timestamp", "context"])
    table = table.filter(pc.is_valid(table["context"])).sort_by("timestamp")
    widths = pc.list_value_length(table["context"])
    ours = table.filter(pc.equal(widths, pa.scalar(len(NAMES), widths.type)))
    if len(table) and not len(ours):
        raise FeatureError(
            f"{file} holds vectors of another catalogue",
            got=pc.unique(widths).to_pylist(),
            expected=len(NAMES),
            because="features were added or removed since these decisions",
        )
    table = ours
    frame = table.select(["user_id", "timestamp"]).to_pandas()
    last = np.flatnonzero(~frame.duplicated("user_id", keep="last"))
    vectors = [np.asarray(one, dtype=np.float64) for one in table["context"].take(last).to_pylist()]
    told = frame.iloc[last].reset_index(drop=True).rename(columns={"timestamp": "as_of"})
    values = np.array(vectors).reshape(-1, len(NAMES))
    return pd.concat([told, pd.DataFrame(values, columns=list(NAMES))], axis=1)


def served_shifts(config: Config, model: Model, reference: Reference, vectors: pd.DataFrame, now: datetime) -> Served:
    """Both comparisons for one model; a user whom no snapshot knows before his decision is left out of the second."""
    served = population(model, vectors, now)
    to_training = [one for one in shifts(reference, served, config.seed) if one.kind == "feature"]
    first = snapshots.snapshots(config, "user")[0][0]
    asked = vectors[vectors["as_of"] >= pd.Timestamp(first)]
    if asked.empty:
        return Served(served.rows, to_training, [])
    offline = population(model, Store(config).historical(asked[["user_id", "as_of"]]), now)
    # The same people at nearly the same time: nothing is usual.
    beside = {
        name: replace(one, counts=count(offline.values[name], one.edges), earlier=())
        for name, one in reference.features.items()
    }
    inside = {
        name: replace(one, counts=count(offline.scores[name], one.edges), earlier=())
        for name, one in reference.scores.items()
        if name == COHORT
    }
    pair = replace(reference, features=beside, scores=inside, as_of=now)
    return Served(served.rows, to_training, shifts(pair, population(model, asked, now), config.seed))
