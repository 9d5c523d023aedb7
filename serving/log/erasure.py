"""Forgetting a person: what the log holds of them goes, what was counted over everybody stays, nothing comes again.

The list of who was forgotten holds digests under a salt of this log. Whatever writes under the name of a person looks
at it in its own transaction: `serving.log.decisions` with the statement that claims the request, live events, wishes
and identities in turns with `forget`. So nothing that was on its way is written after it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Sequence
from weakref import WeakKeyDictionary

from serving.log.database import Database, Transaction, marks
from serving.log.sqlite import SqliteDatabase

__all__ = ["KINDS", "among", "digest", "drop_identities", "forget", "identities", "learn_salt", "lift", "on_list"]

AT_ONCE = 5_000
TURNS = ("live events", "people")  # besides "feedback", which the transaction itself waits for

_ADD = "INSERT INTO forgotten (digest, at_us) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING"
_MINE = "(SELECT decision_id FROM decisions WHERE user_id = ?)"
# In this order: what names a decision goes before the decision.
_TABLES = (
    (
        "requests",
        "DELETE FROM requests WHERE request_id IN (SELECT request_id FROM decisions WHERE user_id = ?) "
        f"AND decision_id IN {_MINE}",
    ),
    ("offers", f"DELETE FROM decision_offers WHERE decision_id IN {_MINE}"),
    ("decisions", "DELETE FROM decisions WHERE user_id = ?"),
    ("feedback", "DELETE FROM feedback WHERE user_id = ?"),
    ("contents", "DELETE FROM contents WHERE user_id = ?"),
    ("actions", "DELETE FROM actions WHERE user_id = ?"),
    ("live_events", "DELETE FROM live_events WHERE user_id = ?"),
    ("settings", "DELETE FROM user_settings WHERE user_id = ?"),
)
KINDS = tuple(name for name, _ in _TABLES)  # of rows that are removed
_salts: WeakKeyDictionary[Database, str] = WeakKeyDictionary()


def learn_salt(database: Database) -> None:
    """Read the salt of the list, drawn once: before any transaction that looks at the list."""
    ask = "SELECT salt FROM salts WHERE name = 'forgotten'"
    rows = database.read(ask)
    if not rows:
        with database.write() as inside:
            inside.run("INSERT INTO salts VALUES ('forgotten', ?) ON CONFLICT DO NOTHING", (secrets.token_hex(32),))
        rows = database.read(ask)
    _salts[database] = str(rows[0][0])


def digest(database: Database, user_id: str) -> str:
    """How the list of this log writes an id."""
    return hashlib.sha256(f"{_salts[database]}{user_id}".encode("utf-8", "surrogatepass")).hexdigest()


def among(database: Database, inside: Transaction, user_ids: Iterable[str]) -> frozenset[str]:
    """Those of the users who were forgotten, as this transaction sees it."""
    found = set[str]()
    by_digest = {digest(database, one): one for one in user_ids}
    digests = list(by_digest)
    for start in range(0, len(digests), AT_ONCE):
        part = digests[start : start + AT_ONCE]
        rows = inside.rows(f"SELECT digest FROM forgotten WHERE digest IN ({marks(part)})", part)
        found |= {by_digest[row[0]] for row in rows}
    return frozenset(found)


def on_list(database: Database, user_ids: Collection[str]) -> bool:
    """Whether all of them are on the list."""
    digests = {digest(database, one) for one in user_ids}
    rows = database.read(f"SELECT digest FROM forgotten WHERE digest IN ({marks(list(digests))})", list(digests))
    return len(rows) == len(digests)


def forget(database: Database, user_ids: Sequence[str], at_us: int) -> dict[str, int]:
    """Put the users on the list and remove what there is of them; rows removed, by what they were.

    Counts per offer, placement, channel and day stay. So do their identities, which `drop_identities` takes last:
    until then the same call finds the same person. Feedback on what is gone is `UNKNOWN_DECISION`.
    """
    removed = {name: 0 for name, _ in _TABLES}
    digests = [digest(database, one) for one in user_ids]
    with database.write("feedback") as inside:
        if not isinstance(database, SqliteDatabase):  # in SQLite one transaction writes at a time
            for turn in TURNS:
                inside.rows("SELECT 1 FROM pg_advisory_xact_lock(hashtext(?))", (f"userops {turn}",))
            inside.run("LOCK TABLE requests IN SHARE ROW EXCLUSIVE MODE")  # after whoever records a decision
        inside.many(_ADD, [(one, at_us) for one in digests])
        for user_id in user_ids:
            for name, statement in _TABLES:
                removed[name] += inside.run(statement, (user_id,) * statement.count("?"))
    database.scrub()
    return removed


def lift(database: Database, user_ids: Sequence[str]) -> int:
    """Take the users off the list; how many were on it."""
    digests = [(digest(database, one),) for one in user_ids]
    with database.write("people") as inside:
        return sum(inside.run("DELETE FROM forgotten WHERE digest = ?", one) for one in digests)


def identities(database: Database, user_id: str) -> list[tuple[str, str]]:
    """``(namespace, id)`` of every identity of a user."""
    rows = database.read("SELECT namespace, id FROM identities WHERE user_id = ? ORDER BY namespace, id", (user_id,))
    return [(row[0], row[1]) for row in rows]


def drop_identities(database: Database, user_id: str) -> int:
    """Remove the identities of a user; how many there were."""
    with database.write("people") as inside:
        dropped = inside.run("DELETE FROM identities WHERE user_id = ?", (user_id,))
    database.scrub()
    return dropped
