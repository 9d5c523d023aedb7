"""The user vector: the catalogue's expressions over the facts of each (user, as_of)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from configs.errors import FeatureError
from features.behaviour.facts import facts
from features.behaviour.season import calendar_of
from features.catalog import USER_FEATURES
from features.periods import upto
from features.tiles import EPOCH, Tiles, clock_of, cut, tile_of

__all__ = ["columns_read", "snapshots_arrow", "user_features", "user_vectors"]


def snapshots_arrow(as_ofs: Sequence[datetime]) -> pa.Table:
    """One row per snapshot: as_of, the tile that ends there, and its place in the year."""
    clocks = {clock_of(as_of) for as_of in as_ofs}
    if len(clocks) != 1:
        raise FeatureError(
            "the snapshots of one pass must be whole days apart",
            got=sorted(map(str, clocks)),
            expected="one time of day",
        )
    calendars = [calendar_of(as_of) for as_of in as_ofs]
    return pa.table(
        {
            "as_of": pa.array(as_ofs, pa.timestamp("us", tz="UTC")),
            "tile": pa.array([tile_of(as_of) for as_of in as_ofs], pa.int32()),
            "now_at": pa.array([(as_of - EPOCH) // timedelta(microseconds=1) for as_of in as_ofs], pa.int64()),
            **{name: pa.array([c[name] for c in calendars], pa.float64()) for name in calendars[0]},
        }
    )


def user_features(events: ir.Table, as_ofs: Sequence[datetime]) -> ir.Table:
    """The user vector at every ``as_of``, for each user with an event at or before it.

    Parameters
    ----------
    events
        The event tuple (`features.events.COLUMNS`).
    as_ofs
        Snapshots, whole days apart.

    Returns
    -------
    ir.Table
        user_id, as_of, then every feature of the catalogue as float64, absent as null.
    """
    return user_vectors(cut(upto(events, max(as_ofs)), clock_of(as_ofs[0])), ibis.memtable(snapshots_arrow(as_ofs)))


def user_vectors(tiles: Tiles, as_ofs: ir.Table, shop: ir.Table | None = None) -> ir.Table:
    """`user_features` from tiles that are already cut; ``shop`` as in `features.behaviour.facts.facts`."""
    rows = facts(tiles, as_ofs, columns_read(), shop)
    columns = {}
    for feature in USER_FEATURES:
        value = feature.value(rows).cast("float64")
        for part in feature.needs:
            value = value * rows[f"has_{part}"]
        columns[feature.name] = value
    values = rows.select("user_no", "as_of", **columns)
    return tiles.users.inner_join(values, "user_no").drop("user_no")


def columns_read() -> frozenset[str]:
    """The columns of facts that the features of the catalogue read."""
    read: set[str] = set()
    column = ibis.table({"x": "float64"}, name="facts").x

    class Reader:
        def __getitem__(self, name: str) -> ir.Value:
            read.add(name)
            return column

        __getattr__ = __getitem__

    for feature in USER_FEATURES:
        feature.value(Reader())
    return frozenset(read)
