"""P010: what training learns from and what the service scores are the same numbers, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import vectors
from features.catalog import NAMES
from features.fresh import Refresher
from features.periods import now
from features.snapshots import newest
from training.checks.outcome import Check, Found

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

Floats = NDArray[np.float64]

USERS = 200
SHOWN = 5


def look(subject: Subject) -> Found:
    """Compare sampled users of the newest snapshot with the live path, and with what is published if anything is.

    The live path is what the service does after an event: it computes a row from the user's own events and packs it
    into the bytes that are published; the snapshot was computed from everybody's events at once.
    """
    config, store = subject.config, subject.store
    as_of, path = newest(config, "user", now(config))
    table = pq.read_table(path)
    everybody = np.array(table["user_id"].to_pylist(), dtype=object)
    users = sorted(np.random.default_rng(config.seed).permutation(everybody)[:USERS].tolist())
    fresh = _matrix(Refresher(config).rows(users, as_of).user, users)
    live = vectors.unpack(vectors.pack(fresh, store.digest), len(NAMES), store.digest)
    differing = {("live path", user, name) for user, name in _differing(users, _matrix(table, users), live)}
    evidence: dict[str, Any] = {"users": len(users), "as_of": as_of.isoformat(), "published": False}
    if store.is_published() and store.online(users).found.any():
        parity = store.parity(USERS)
        evidence |= {"published": True, "published_users": parity.users}
        differing |= {("published", user, name) for user, name in parity.differing}
    evidence["differing_values"] = len(differing)
    evidence["differing"] = sorted(differing)[:20]
    if not differing:
        read = {"en": "the live path", "zh": "实时计算"}
        if evidence["published"]:
            read = {"en": "the live path and what is published", "zh": "实时计算与已发布的数值"}
        words = {
            "en": f"{len(users)} users: the snapshot, {read['en']} hold the same {len(NAMES)} features.",
            "zh": f"{len(users)}名用户：快照、{read['zh']}的{len(NAMES)}个特征完全一致。",
        }
        return Found("passed", words, evidence)
    people, values = len({user for _, user, _ in differing}), len(differing)
    names = sorted({name for _, _, name in differing})
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    commands, one = "userops features build && userops features publish", min(differing)[1]
    return Found(
        "issue",
        {
            "en": f"{values} values of {people} users differ between training and serving ({shown}): the service would "
            "score what the model never learned.",
            "zh": f"{people}名用户的{values}个数值在训练与线上不一致（{shown}）：线上评分所用的特征与模型学习的不同。",
        },
        evidence,
        {
            "en": f"{commands}; if it stays: userops features inspect {one}",
            "zh": f"{commands}；若仍不一致：userops features inspect {one}",
        },
    )


def _matrix(table: pa.Table, users: Sequence[str]) -> Floats:
    """float64[users, features]; NaN where a value is absent, and everywhere for a user who is not in the table."""
    values = np.column_stack([table[name].to_numpy().astype(np.float64) for name in NAMES])
    place = {user: row for row, user in enumerate(table["user_id"].to_pylist())}
    found: Floats = np.full((len(users), len(NAMES)), np.nan)
    for row, user in enumerate(users):
        if user in place:
            found[row] = values[place[user]]
    return found


def _differing(users: Sequence[str], one: Floats, other: Floats) -> list[tuple[str, str]]:
    places = np.argwhere(~((one == other) | (np.isnan(one) & np.isnan(other))))
    return [(users[row], NAMES[column]) for row, column in places]


CHECK = Check(
    "P010",
    {"en": "offline is not online", "zh": "离线与线上特征不一致"},
    "blocker",
    look,
    kinds=("users", "value"),
    otherwise={
        "en": "This model reads histories, not the user vector.",
        "zh": "该模型读取行为序列，而非用户特征向量。",
    },
)
