"""What the shop sells and what each store carries: read from entities, item features and sales, and put online.

An item is in it when a source's ``items`` name it, when it has ever occurred in an event, or when a store carries it;
what nobody says of it is null. Its price is the source's, or else the mean of the last 90 days' sales, or of all sales.
A store carries what the entity ``store_items`` says; a store that this does not name carries what it sold in the last
90 days. It goes online with the publication, all of it at once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from configs import Config
from features import online, snapshots
from features.shelf import Assortment, Shelf

__all__ = ["Assortment", "Offered", "load_assortment", "read_assortment", "write_assortment"]

SOLD_DAYS = 90
_ATTRIBUTES = {
    "category_id": "string", "name": "string", "price": "float64", "margin": "float64", "stock": "float64",
    "is_slow_moving": "boolean", "valid_from": "timestamp('UTC', 6)", "valid_to": "timestamp('UTC', 6)",
}  # fmt: skip


@dataclass(frozen=True)
class Offered:
    """What a publication will write: one row per item, and per store the places of its items and their stock."""

    items: list[tuple[Any, ...]]
    stores: list[tuple[str, bytes, bytes | None]]

    @property
    def stamp(self) -> str:
        """A digest of all of it."""
        whole = hashlib.sha256(repr(self.items).encode())
        for store_id, places, stock in self.stores:
            whole.update(repr((store_id, len(places), stock is None)).encode() + places + (stock or b""))
        return whole.hexdigest()


def read_assortment(config: Config, as_of: datetime) -> Offered:
    """The assortment as the sources and the sales up to ``as_of`` tell it."""
    import ibis

    from features.engine import connect
    from features.events import read_entities
    from features.tiles import epoch_us

    connection = connect(config)
    try:
        carried = _carried(connection, config, as_of)
        given = read_entities(connection, config, "items")
        made = [path for at, path in snapshots.snapshots(config, "item") if at <= as_of][-1:]
        features = [connection.read_parquet(path) for path in made]
        parts = [table.select("item_id") for table in [given, carried, *features] if table is not None]
        if not parts:
            return Offered([], [])
        items = ibis.union(*parts, distinct=True) if len(parts) > 1 else parts[0].distinct()
        known: dict[str, ibis.Value] = {}
        if given is not None:
            attributes = {c: given[c].try_cast(kind) for c, kind in _ATTRIBUTES.items() if c in given.columns}
            own = given.select(own_id="item_id", **{f"own_{c}": value for c, value in attributes.items()})
            items = items.left_join(own, items.item_id == own.own_id)
            known = {c: items[f"own_{c}"] for c in attributes}
        for table in features:
            seen = table.select(
                seen_id="item_id", seen_category_id="category_id", seen_price=table.price.coalesce(table.price_life)
            )
            items = items.left_join(seen, items.item_id == seen.seen_id)
            for column in ("category_id", "price"):
                value = items[f"seen_{column}"]
                known[column] = items[f"own_{column}"].coalesce(value) if column in known else value
        columns = {c: known.get(c, ibis.null(kind)) for c, kind in _ATTRIBUTES.items()}
        columns |= {c: epoch_us(columns[c]) for c in ("valid_from", "valid_to")}
        columns["is_slow_moving"] = columns["is_slow_moving"].cast("int8")
        ordered = connection.to_pyarrow(items.select("item_id", **columns).order_by("item_id"))
        rows = list(zip(range(len(ordered)), *(column.to_pylist() for column in ordered.columns), strict=True))
        stores = [] if carried is None else _stores(connection.to_pyarrow(carried), [row[1] for row in rows])
        return Offered(rows, stores)
    finally:
        connection.disconnect()


def _carried(connection: Any, config: Config, as_of: datetime) -> Any | None:
    """store_id, item_id, stock: what the sources say of stores, and what the other stores sold lately."""
    import ibis

    from features.events import read_entities, read_events
    from features.ledger import Ledger
    from features.periods import in_window

    since = as_of - timedelta(days=SOLD_DAYS)
    given, sold = read_entities(connection, config, "store_items"), None
    if Ledger(config).event_files(f"{since:%Y-%m-%d}", f"{as_of:%Y-%m-%d}"):
        events = read_events(connection, config, since, as_of)
        sold = events.filter(
            (events.event_type == "purchase")
            & events.store_id.notnull()
            & events.item_id.notnull()
            & in_window(events.event_at, as_of, SOLD_DAYS)
        )
        sold = sold.select("store_id", "item_id", stock=ibis.null("float64")).distinct()
    if given is None:
        return sold
    stock = given.stock.try_cast("float64") if "stock" in given.columns else ibis.null("float64")
    said = given.select("store_id", "item_id", stock=stock)
    return said if sold is None else said.union(sold.anti_join(said, "store_id"))


def _stores(carried: Any, item_ids: list[str]) -> list[tuple[str, bytes, bytes | None]]:
    """Per store the places of its items, ascending, and their stock, as bytes; no stock where none is known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.index_in(carried["item_id"], value_set=pa.array(item_ids, pa.string())).to_numpy()
    coded = carried["store_id"].combine_chunks().dictionary_encode()
    store, names = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    stock = carried["stock"].to_numpy()
    order = np.lexsort((places, store))
    ends = np.searchsorted(store[order], np.arange(1, len(names)))
    made = []
    for number, own in enumerate(np.split(order, ends) if names else ()):
        pieces = stock[own].astype("<f8")
        told = None if np.isnan(pieces).all() else pieces.tobytes()
        made.append((names[number], places[own].astype("<i4").tobytes(), told))
    return sorted(made)


def write_assortment(writer: online.Writer, offered: Offered, as_of: int) -> bool:
    """Whether it was written: it never gives way to an older one."""
    return writer.write_assortment((offered.stamp, as_of, offered.items, offered.stores))


def load_assortment(store: online.OnlineStore) -> Assortment:
    """See `features.store.Store.assortment`."""
    stamp, as_of, items, stores = store.assortment()
    shelves = {store_id: Shelf.of(places, stock) for store_id, places, stock in stores}
    return Assortment.of(stamp, as_of * 1_000_000, items, shelves)
