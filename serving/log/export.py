"""The log as training and evaluation data: Parquet under Open Bandit's names, one row per offer shown.

====================  ==================================================================================================
`context`             list of float64: the feature vector that the decision saw; null when there was none
`action`              int64: the place of ``action_id`` among this file's offers in sorted order
`action_id`           the offer
`position`            int64, from 0: its rank - 1
`reward`              float64: 1 when one of the reward types happened to the offer in (decision, decision + window]; 0
                      when none did
`pscore`              float64 in (0, 1]: the probability with which the policy shows this offer at this rank
`value`               float64: money of its orders minus that of its returns in that window
`timestamp`           when it was decided, UTC
====================  ==================================================================================================

Beside them `decision_id`, `user_id`, `channel`, `placement`, `p`, `priority`, `release_id` and `policy_digest`. Offers
that no policy drew (fallback, control) are not in it. A reward is final only when the window passed before the export.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import LogError
from serving.log.database import Database, Row, marks
from serving.log.judging import TYPES

__all__ = ["SCHEMA", "export"]

_FIELDS: list[pa.Field[Any]] = [
    pa.field("decision_id", pa.string()),
    pa.field("user_id", pa.string()),
    pa.field("timestamp", pa.timestamp("us", tz="UTC")),
    pa.field("context", pa.list_(pa.float64())),
    pa.field("action", pa.int64()),
    pa.field("action_id", pa.string()),
    pa.field("position", pa.int64()),
    pa.field("reward", pa.float64()),
    pa.field("pscore", pa.float64()),
    pa.field("value", pa.float64()),
    pa.field("channel", pa.string()),
    pa.field("placement", pa.string()),
    pa.field("p", pa.float64()),
    pa.field("priority", pa.float64()),
    pa.field("release_id", pa.string()),
    pa.field("policy_digest", pa.string()),
]
SCHEMA = pa.schema(_FIELDS)
DECISIONS_AT_ONCE = 5_000

_OFFERS = (
    "SELECT DISTINCT o.offer_id FROM decisions d JOIN decision_offers o ON o.decision_id = d.decision_id "
    "WHERE d.decided_at_us >= ? AND d.decided_at_us < ? AND o.action_probability IS NOT NULL"
)
# Decisions without such an offer are in the page too, with nulls: the next page begins after the last decision.
_PAGE = (
    "SELECT d.decision_id, d.user_id, d.decided_at_us, o.offer_id, o.rank, o.action_probability, o.channel, "
    "o.placement, o.p, o.priority, d.release_id, d.policy_digest, v.content FROM (SELECT decision_id, user_id, "
    "decided_at_us, release_id, policy_digest, vector_hash FROM decisions WHERE decided_at_us < ? "
    "AND (decided_at_us, decision_id) > (?, ?) ORDER BY decided_at_us, decision_id LIMIT ?) AS d "
    "LEFT JOIN decision_offers o ON o.decision_id = d.decision_id AND o.action_probability IS NOT NULL "
    "LEFT JOIN contents v ON v.user_id = d.user_id AND v.hash = d.vector_hash "
    "ORDER BY d.decided_at_us, d.decision_id, o.rank"
)


def export(
    database: Database, path: Path, since_us: int, until_us: int, reward_types: Collection[str], attribution_us: int
) -> int:
    """Write the file, whole or not at all, in constant memory; how many rows."""
    unknown = set(reward_types) - set(TYPES)
    if unknown or not reward_types:
        raise LogError("not a type of feedback to reward", got=sorted(unknown) or "none", expected=TYPES)
    actions = [row[0] for row in database.read(_OFFERS, (since_us, until_us))]
    schema = SCHEMA.with_metadata(
        {
            "n_actions": str(len(actions)),
            "reward_types": ",".join(sorted(reward_types)),
            "attribution_us": str(attribution_us),
        }
    )
    place = {action: index for index, action in enumerate(sorted(actions))}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for page in _pages(database, since_us, until_us):
                rewards = _rewards(database, page, frozenset(reward_types), attribution_us)
                # What was decided while this went on may show an offer that has no place: it is in the next export.
                later = {row[0] for row in page if row[3] is not None and row[3] not in place}
                lines = [_line(row, place, rewards) for row in page if row[3] is not None and row[0] not in later]
                if lines:
                    writer.write_table(pa.Table.from_pylist(lines, schema=schema))
                written += len(lines)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return written


def _pages(database: Database, since_us: int, until_us: int) -> Iterator[list[Row]]:
    last = since_us, ""  # no id is empty
    while page := database.read(_PAGE, (until_us, *last, DECISIONS_AT_ONCE)):
        yield page
        last = page[-1][2], page[-1][0]


def _rewards(
    database: Database, page: list[Row], reward_types: frozenset[str], attribution_us: int
) -> dict[tuple[str, int], tuple[bool, float]]:
    """Per decision and rank: whether it was rewarded, and the money that came of it."""
    decided_at = {row[0]: row[2] for row in page}
    ids = list(decided_at)
    found: dict[tuple[str, int], tuple[bool, float]] = {}
    for decision_id, rank, kind, at_us, value in database.read(
        f"SELECT decision_id, rank, type, at_us, value FROM feedback WHERE decision_id IN ({marks(ids)})", ids
    ):
        # Feedback from before its decision is there only as far as clocks differ.
        if at_us <= decided_at[decision_id] + attribution_us:
            rewarded, money = found.get((decision_id, rank), (False, 0.0))
            sign = {"order": 1.0, "return": -1.0}.get(kind, 0.0)
            found[decision_id, rank] = rewarded or kind in reward_types, money + sign * (value or 0.0)
    return found


def _line(row: Row, place: dict[str, int], rewards: dict[tuple[str, int], tuple[bool, float]]) -> dict[str, Any]:
    decision_id, user_id, at_us, offer_id, rank, pscore, channel, placement, p, priority, release, policy, vector = row
    if not 0.0 < pscore <= 1.0:
        raise LogError(
            f"decision {decision_id}: the probability of the offer at rank {rank} is none",
            got=pscore,
            expected="a number in (0, 1]",
            because="it was recorded by something that does not explore",
        )
    rewarded, value = rewards.get((decision_id, rank), (False, 0.0))
    return {
        "decision_id": decision_id,
        "user_id": user_id,
        "timestamp": at_us,
        "context": np.frombuffer(vector, dtype="<f8") if vector else None,
        "action": place[offer_id],
        "action_id": offer_id,
        "position": rank - 1,
        "reward": float(rewarded),
        "pscore": pscore,
        "value": value,
        "channel": channel,
        "placement": placement,
        "p": p,
        "priority": priority,
        "release_id": release,
        "policy_digest": policy,
    }
