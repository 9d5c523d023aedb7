"""The proof that training and serving see the same: offline row = online vector = what stock Feast reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.errors import FeatureError
from features import online, snapshots
from features.catalog import NAMES

if TYPE_CHECKING:
    from features.store import Store

__all__ = ["Inspection", "Parity", "inspect", "parity"]


@dataclass(frozen=True)
class Inspection:
    """One person as training sees him (``offline``) and as the service does (``online``), at the online instant.

    A feature that is absent is None. ``differing`` names the features whose two values are not the same.
    """

    user_id: str
    as_of: datetime | None
    offline: dict[str, float | None]
    online: dict[str, float | None] | None
    profile: dict[str, Any] | None
    differing: tuple[str, ...]


@dataclass(frozen=True)
class Parity:
    """How many sampled users were compared, and for whom the three readings differ (user and feature)."""

    users: int
    differing: tuple[tuple[str, str], ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differing


def inspect(store: Store, user_id: str) -> Inspection:
    """See `Store.inspect`. Of a person who is not online: the newest offline row.

    Of one whom live events brought online at an instant without a snapshot: what the stored events say of that instant.
    """
    from features import periods

    served = store.online([user_id])
    found = bool(served.found[0])
    as_of = served.as_of[0].item().replace(tzinfo=UTC) if found else periods.now(store.config)
    built = not found or as_of in {at for at, _ in snapshots.snapshots(store.config, "user")}
    offline = _offline(store, [user_id], [as_of]) if built else _computed(store, user_id, as_of)
    if not found and np.isnan(offline).all():
        raise FeatureError(f"nobody knows user {user_id!r}", expected="a user_id of a snapshot", run="userops status")
    differing = _differing([user_id], offline, served.values) if found else ()
    return Inspection(
        user_id=user_id,
        as_of=as_of if found else None,
        offline=_named(offline[0]),
        online=_named(served.values[0]) if found else None,
        profile=store.profiles([user_id])[0],
        differing=tuple(feature for _, feature in differing),
    )


def parity(store: Store, users: int) -> Parity:
    """See `Store.parity`: users of the newest snapshot, sampled with the project's seed, each at his online instant.

    Left out is who came online at an instant without a snapshot, by live events.
    """
    import pyarrow.parquet as pq

    from features import periods

    _, path = snapshots.newest(store.config, "user", periods.now(store.config))
    everybody = np.array(pq.read_table(path, columns=["user_id"])["user_id"].to_pylist(), dtype=object)
    random = np.random.default_rng(store.config.seed)
    sample = [str(one) for one in random.choice(everybody, size=min(users, len(everybody)), replace=False)]
    served = store.online(sample)
    built = {at.replace(tzinfo=None) for at, _ in snapshots.snapshots(store.config, "user")}
    sample = [one for one, at in zip(sample, served.as_of.tolist(), strict=True) if at in built]
    if not sample:
        raise FeatureError("nobody of the newest snapshot is online", run="userops features publish")
    served = store.online(sample)
    offline = _offline(store, sample, [at.item().replace(tzinfo=UTC) for at in served.as_of])
    answer = store.feast().get_online_features(
        features=[":".join(online.VECTOR)], entity_rows=[{"user_id": one} for one in sample]
    )
    through_feast = np.array([vector[1:] for vector in answer.to_dict()[online.VECTOR.feature]])
    differing = {*_differing(sample, offline, served.values), *_differing(sample, served.values, through_feast)}
    return Parity(len(sample), tuple(sorted(differing)))


def _offline(store: Store, users: list[str], as_of: list[datetime]) -> npt.NDArray[np.float64]:
    import pandas as pd

    keys = pd.DataFrame({"user_id": users, "as_of": pd.Series(as_of, dtype="datetime64[us, UTC]")})
    values: npt.NDArray[np.float64] = store.historical(keys)[list(NAMES)].to_numpy()
    return values


def _computed(store: Store, user_id: str, as_of: datetime) -> npt.NDArray[np.float64]:
    from features.fresh import Refresher

    user = Refresher(store.config).rows([user_id], as_of).user
    if not user.num_rows:
        return np.full((1, len(NAMES)), np.nan)
    return np.array([[user[name][0].as_py() for name in NAMES]], dtype=np.float64)  # None becomes NaN


def _differing(
    users: list[str], one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> tuple[tuple[str, str], ...]:
    places = np.argwhere(~((one == other) | (np.isnan(one) & np.isnan(other))))
    return tuple((users[row], NAMES[column]) for row, column in places)


def _named(values: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(NAMES, values, strict=True)}
