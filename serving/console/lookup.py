"""Which published users have an id that begins so: found by key, as quick among millions of users as among ten."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from configs.errors import FeatureError
from features import online, vectors

__all__ = ["ids_beginning"]

LONGEST = 128  # bytes; no longer id can be asked for
_SQL = "SELECT entity_key FROM {} WHERE entity_key >= ? AND entity_key < ? ORDER BY entity_key LIMIT ?"


def ids_beginning(path: Path, start: str, most: int = 20) -> list[str]:
    """At most ``most`` published user ids that begin with ``start``: shorter ones first, then in the order of bytes.

    A key of the store holds the length of the id and then the id, so that each length is one range of its index.

    Parameters
    ----------
    path
        The online store's file (`features.online.path_of`); where nothing was published, nobody is found.
    """
    reader, wanted, found = online.OnlineReader(path), start.encode(), list[str]()
    before = vectors.entity_keys([""])[0][:-4]
    sql = _SQL.format(online.table_of(online.VECTOR_VIEW))
    try:
        for length in range(max(1, len(wanted)), LONGEST + 1):
            head, rest = before + length.to_bytes(4, "little") + wanted, length - len(wanted)
            between = (head + b"\x00" * rest, head + b"\xff" * (rest + 1), most - len(found))
            rows = reader.connection.execute(sql, between)
            found += [key[len(before) + 4 :].decode() for (key,) in rows]
            if len(found) == most:
                break
    except FeatureError:
        return []
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
    finally:
        reader.close()
    return found
