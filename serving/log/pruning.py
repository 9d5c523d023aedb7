"""Old decisions taken out of the log: they and what hangs on them go, counts over everybody stay.

What may still count stays: what is younger than `LEAST_DAYS`, the longest window of a cap, and longer than that of any
feedback. Each step is a transaction of some milliseconds, so nobody who decides meanwhile waits long; stopped
anywhere, the same call goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from configs.errors import LogError
from serving.log.database import Database, Row, Transaction, marks
from serving.log.people import ACTIONS_US
from serving.log.rows import DAY_US
from serving.log.sqlite import SqliteDatabase

__all__ = ["LEAST_DAYS", "prunable", "prune"]

LEAST_DAYS = ACTIONS_US // DAY_US
AT_ONCE = 50  # decisions of one transaction
USERS_AT_ONCE = 500
Progress = Callable[[str, float], None]

_OLD = "SELECT decision_id FROM decisions WHERE decided_at_us < ?"
_COUNTED = {
    "decisions": "SELECT count(*) FROM decisions WHERE decided_at_us < ?",
    "offers": f"SELECT count(*) FROM decision_offers WHERE decision_id IN ({_OLD})",
    "feedback": f"SELECT count(*) FROM feedback WHERE decision_id IN ({_OLD})",
    "actions": "SELECT count(*) FROM actions WHERE at_us < ?",
}
_PAGE = (
    "SELECT decided_at_us, decision_id, user_id, vector_hash, history_hash, request_id FROM decisions "
    f"WHERE decided_at_us < ? AND (decided_at_us, decision_id) > (?, ?) ORDER BY 1, 2 LIMIT {AT_ONCE}"
)
_NEEDED = (
    "SELECT 1 FROM decisions d WHERE d.user_id = contents.user_id "
    "AND (d.vector_hash = contents.hash OR d.history_hash = contents.hash)"
)


def prunable(database: Database, before_us: int, now_us: int) -> dict[str, int]:
    """How many rows `prune` would remove, by kind; vectors and histories are not looked for.

    Raises
    ------
    LogError
        When ``before_us`` is nearer to ``now_us`` than `LEAST_DAYS`.
    """
    _check(before_us, now_us)
    return {kind: int(database.read(sql, (before_us,))[0][0]) for kind, sql in _COUNTED.items()}


def prune(database: Database, before_us: int, now_us: int, show: Progress) -> dict[str, int]:
    """Remove decisions from before ``before_us`` with their feedback, and actions from before it; rows, by kind.

    Feedback on what is gone is `UNKNOWN_DECISION`, and its request id is new again.

    Raises
    ------
    LogError
        When ``before_us`` is nearer to ``now_us`` than `LEAST_DAYS`; nothing is removed.
    """
    _check(before_us, now_us)
    removed = dict.fromkeys((*_COUNTED, "contents"), 0)
    first = database.read("SELECT min(decided_at_us) FROM decisions")[0][0]
    last = -(2**63), ""
    while rows := database.read(_PAGE, (before_us, *last)):
        last = rows[-1][0], rows[-1][1]
        began = time.monotonic()
        with database.write("feedback") as inside:
            _decisions(database, inside, rows, removed)
        show(f"{removed['decisions']:,} decisions", 0.9 * (last[0] - first) / (before_us - first))
        time.sleep(time.monotonic() - began)  # whoever waited for it comes first
    after = ""
    while users := _users(database, after):
        with database.write() as inside:
            removed["actions"] += inside.run(
                "DELETE FROM actions WHERE user_id > ? AND user_id <= ? AND at_us < ?", (after, users[-1], before_us)
            )
        after = users[-1]
        show(f"{removed['actions']:,} actions", 0.95)
    database.scrub()
    return removed


def _decisions(database: Database, inside: Transaction, rows: Sequence[Row], removed: dict[str, int]) -> None:
    if not isinstance(database, SqliteDatabase):
        # After whoever records a decision: it may need a vector that no decision before it needs.
        inside.run("LOCK TABLE requests IN SHARE ROW EXCLUSIVE MODE")
    ids = [row[1] for row in rows]
    these = f"decision_id IN ({marks(ids)})"
    removed["feedback"] += inside.run(f"DELETE FROM feedback WHERE {these}", ids)
    removed["offers"] += inside.run(f"DELETE FROM decision_offers WHERE {these}", ids)
    removed["decisions"] += inside.run(f"DELETE FROM decisions WHERE {these}", ids)
    # A request id that came again belongs to a later decision.
    requests = [row[5] for row in rows]
    inside.run(f"DELETE FROM requests WHERE request_id IN ({marks(requests)}) AND {these}", [*requests, *ids])
    contents = sorted({(row[2], name) for row in rows for name in row[3:5] if name})
    if contents:
        users, pairs = sorted({row[2] for row in rows}), ", ".join(["(?, ?)"] * len(contents))
        # By user as well: of pairs alone SQLite would look through the whole table.
        removed["contents"] += inside.run(
            f"DELETE FROM contents WHERE user_id IN ({marks(users)}) AND (user_id, hash) IN (VALUES {pairs}) "
            f"AND NOT EXISTS ({_NEEDED})",
            [*users, *(value for pair in contents for value in pair)],
        )


def _users(database: Database, after: str) -> list[str]:
    """The next users with actions."""
    sql = f"SELECT DISTINCT user_id FROM actions WHERE user_id > ? ORDER BY user_id LIMIT {USERS_AT_ONCE}"
    return [row[0] for row in database.read(sql, (after,))]


def _check(before_us: int, now_us: int) -> None:
    least = now_us - LEAST_DAYS * DAY_US
    if before_us > least:
        raise LogError(
            f"decisions of the last {LEAST_DAYS} days stay",
            got=f"{(now_us - before_us) / DAY_US:.1f} days",
            expected=f"at least {LEAST_DAYS}",
            because="caps look back so far, and feedback on them may still come",
        )
