"""``userops audience``: the users most worth reaching, from bulk scores, with what they asked of us respected.

The rules are those of ``POST /v1/audiences:build``: nobody without personalisation, opted out of everything, or who
refused just this. With a channel also nobody who is opted out of it, or who has not agreed where the policy in force
asks for consent. Wishes are those of now, not of when the scores were made; who was forgotten since is in none. The
order is that of the score, of equal ones that of the user id, so that the same scores and wishes give the same file,
byte for byte.
"""

from __future__ import annotations

import csv
import heapq
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs import Config
from configs.errors import UseropsError
from features.catalog import digest
from features.forgotten import listed
from serving.bulk.folder import Folder
from serving.bulk.wishes import Wishes, log_of, wishes_of
from serving.decision.policy import Policy
from serving.nbo.rules import Rules
from serving.nbo.tags import PREFIX
from serving.scoring import Bundle, current
from serving.scoring.interest.model import NAME as INTEREST

__all__ = ["Aim", "audience", "write_audience"]

HEADS = {"churn": "p_inactive_30d", "repurchase": "p_repurchase_90d", "value": "spend_90d"}
_KINDS: dict[str, pa.DataType] = {
    "user_id": pa.string(),
    "rank": pa.int32(),
    "p": pa.float64(),
    "expected": pa.float64(),
    "percentile": pa.float64(),
    "reasons": pa.list_(pa.string()),
}
SCHEMA = pa.schema(_KINDS)
_FIELDS = ("p", "expected", "percentile", "reasons")


@dataclass(frozen=True)
class Aim:
    """By what users are ranked: a head of a model, or a category of the interest model.

    At most ``top`` users, none with a score below ``threshold``; ``channel`` is where they would be reached.
    """

    model: str
    head: str | None = None
    category: str | None = None
    top: int = 1000
    threshold: float | None = None
    channel: str | None = None


def audience(config: Config, scores: Path, aim: Aim) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of the audience, best first, and what they were made from.

    Raises
    ------
    UseropsError
        When no finished scores of that model lie in ``scores``, or they do not have the head or category.
    """
    folder = Folder(scores)
    manifest = folder.manifest()
    parts = None if manifest is None else folder.finished(manifest, aim.model)
    if manifest is None or parts is None:
        raise UseropsError(
            f"{scores} holds no finished scores of {aim.model}",
            got=sorted(manifest["models"]) if manifest else "no manifest.json",
            run=f"the command that wrote {scores}, which goes on; or userops score {aim.model} --out FOLDER",
        )
    head = _head(aim, pq.read_schema(folder.part(aim.model, 0)), scores)
    policy = _policy(config) if aim.channel is not None else None
    if aim.channel is not None and (policy is None or aim.channel not in policy.channels):
        known = sorted(policy.channels) if policy else "a release with a policy"
        raise UseropsError("the policy in force has no such channel", got=aim.channel, expected=known)
    best: list[tuple[float, _Reversed, dict[str, Any]]] = []
    log, gone, found, unwilling = log_of(config), listed(config), 0, 0
    for number in range(len(parts)):
        for batch in _scored(folder.part(aim.model, number), aim, head):
            found += batch.num_rows
            table = _worthy(batch, aim, best)
            if not table.num_rows:
                continue
            rows = table.to_pylist()
            asked = wishes_of(log, [row["user_id"] for row in rows])
            for row in rows:
                if row["user_id"] in gone:
                    continue
                if not _willing(row["user_id"], asked, aim, policy):
                    unwilling += 1
                    continue
                item = (row["score"], _Reversed(row["user_id"]), row)
                if len(best) < aim.top:
                    heapq.heappush(best, item)
                else:
                    heapq.heappushpop(best, item)
    if aim.category is not None and not found:
        raise UseropsError(
            "nobody has a score of this category", got=aim.category, run=f"userops score interest --out {scores}"
        )
    ranked = [row for _, _, row in sorted(best, key=lambda one: (-one[0], one[2]["user_id"]))]
    told = [{**{name: row.get(name) for name in SCHEMA.names}, "rank": k + 1} for k, row in enumerate(ranked)]
    about = {
        "model": aim.model,
        "head": head,
        "category": aim.category,
        "channel": aim.channel,
        "release_id": manifest["release_id"],
        "as_of": manifest["snapshot"]["as_of"],
        "users_scored": found,
        "users_found": len(told),
        "users_unwilling": unwilling,
        "needs_consent": bool(aim.channel and policy and policy.channels[aim.channel].needs_consent),
    }
    return pa.Table.from_pylist(told, SCHEMA), about


def write_audience(table: pa.Table, file: Path, about: Mapping[str, Any]) -> None:
    """Write Parquet, or CSV where the name ends so; the file appears whole."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if file.suffix == ".csv":
            with beside.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(table.column_names)
                for row in table.to_pylist():
                    told = ["" if row[name] is None else row[name] for name in SCHEMA.names[:-1]]
                    writer.writerow([*told, "; ".join(row["reasons"] or [])])
        else:
            metadata = {name: "" if value is None else str(value) for name, value in about.items()}
            pq.write_table(table.replace_schema_metadata(metadata), beside, compression="zstd")
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


@dataclass(frozen=True, order=False)
class _Reversed:
    """A user id that is worse the later it comes."""

    user_id: str

    def __lt__(self, other: _Reversed) -> bool:
        return self.user_id > other.user_id


def _head(aim: Aim, schema: pa.Schema, scores: Path) -> str:
    if aim.model == INTEREST:
        if aim.category is None or aim.head is not None:
            raise UseropsError("interests are asked about a category", got=aim.head, expected="--category")
        return "category"
    heads = [name for name in schema.names if pa.types.is_struct(schema.field(name).type)]
    heads = [name for name in heads if schema.field(name).type.get_field_index("percentile") >= 0]
    head = aim.head or HEADS.get(aim.model, heads[len(heads) // 2])
    if head not in heads or aim.category is not None:
        got = head if head not in heads else f"--category {aim.category}"
        raise UseropsError(f"the scores of {aim.model} in {scores} are not asked about this", got=got, expected=heads)
    return head


def _policy(config: Config) -> Policy | None:
    rules = Rules.of(Bundle.load(current(config.home / "releases"), digest()))
    return None if rules is None else rules.policy


def _scored(path: Path, aim: Aim, head: str) -> Iterator[pa.Table]:
    """Users who have a score, with ``score`` to rank by and the columns of an audience."""
    own = aim.model == INTEREST
    columns = ["user_id", "category_id", "p", "percentile", "reasons"] if own else ["user_id", head]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(10_240, columns=columns, use_threads=False):
            fields: dict[str, Any] = {name: batch.column(name) for name in columns}
            if own:
                known = pc.equal(fields["category_id"], pa.scalar(aim.category or ""))
            else:
                struct: Any = fields.pop(head)
                fields |= dict(zip((field.name for field in struct.type), struct.flatten(), strict=True))
                known = pc.is_null(fields["status_reason"])
            score = fields["expected"] if "expected" in fields else fields["p"]
            told = {name: fields[name] for name in ("user_id", *_FIELDS) if name in fields}
            yield pa.table({**told, "score": score}).filter(pc.and_(known, pc.is_valid(score)))


def _worthy(table: pa.Table, aim: Aim, best: list[Any]) -> pa.Table:
    """Those that could still be in the audience."""
    least = max(-np.inf if aim.threshold is None else aim.threshold, best[0][0] if len(best) == aim.top else -np.inf)
    chosen = table.filter(pc.greater_equal(table["score"], pa.scalar(float(least))))
    texts = [None if one is None else [reason["text"] for reason in one] for one in chosen["reasons"].to_pylist()]
    return chosen.set_column(chosen.column_names.index("reasons"), "reasons", pa.array(texts, pa.list_(pa.string())))


def _willing(user_id: str, asked: Wishes, aim: Aim, policy: Policy | None) -> bool:
    if user_id in asked.withheld or user_id in asked.unreachable:
        return False
    if aim.category is not None and asked.refused.get(user_id, frozenset()) & {aim.category, PREFIX + aim.category}:
        return False
    if aim.channel is None or policy is None:
        return True
    given = asked.consents.get(user_id, {}).get(aim.channel)
    if aim.channel in asked.closed.get(user_id, ()) or given is False:
        return False
    return bool(given) or not policy.channels[aim.channel].needs_consent
