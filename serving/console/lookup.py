"""Which published users have an id that begins so."""

from __future__ import annotations

from configs.errors import FeatureError
from features import online

__all__ = ["ids_beginning"]


def ids_beginning(store: online.OnlineStore, start: str, most: int = 20) -> list[str]:
    """At most ``most`` published user ids that begin with ``start``: shorter ones first, then in the order of bytes.

    Where nothing was published, nobody is found.
    """
    try:
        return [one.decode() for one in store.beginning(online.VECTOR, start.encode(), most)]
    except FeatureError:
        return []
