"""What ``userops benchmark console`` sets up: a home as large as a big shop's, out of a small one that is real.

Users, their snapshots and decisions are copies of real ones under other ids; nothing is written into the home that is
copied. The catalogue has fewer features than the pages must bear: desk files and snapshots get further ones, copies of
those that are there. Only the newest decisions keep their inputs and answers whole, because a million of them would
take 20 GB; every row is in every index, and it is these rows that pages ask for.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from configs import Config
from configs.errors import UseropsError
from features import online, vectors
from features.online import PROFILE, VECTOR
from serving.benchmark_stage import lay_home

__all__ = ["Stage", "lay_console"]

SNAPSHOTS = 9  # what a page looks back on, and one more
WHOLE = 5_000  # decisions with everything in them
DAYS_US = 90 * 86_400_000_000
_FILL = """
INSERT INTO {table} ({columns})
WITH RECURSIVE numbers(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?)
SELECT {values} FROM numbers
JOIN templates AS t ON t.place = n % (SELECT count(*) FROM templates)
JOIN people AS p ON p.place = (n * 7919) % (SELECT count(*) FROM people){more}
"""


@dataclass(frozen=True)
class Stage:
    """A home that is laid out, and what there is to look at in it."""

    home: Path
    users: list[str]  # real ones, with histories
    decisions: list[str]  # whole ones
    models: dict[str, list[str]]  # heads with what they learned, by model
    pairs: dict[str, tuple[str, str]]  # versions that were compared, by model
    counted: dict[str, int]


def lay_console(config: Config, home: Path, users: int, decisions: int, features: int) -> Stage:
    """Lay out ``home`` after ``config.home``, with so many users, decisions and features."""
    source = config.home
    lay_home(source, home)
    for name in ("desk", "audit.db"):
        path = source / name
        if path.is_dir():
            shutil.copytree(path, home / name)
        elif path.exists():
            shutil.copy(path, home / name)
    models = _widen_desk(home / "desk", features)
    if not models:
        raise UseropsError(f"{source} has no desk to look at", run="userops train, or userops report MODEL")
    real, everybody = _more_users(source, home, users, features)
    whole = _more_decisions(replace(config, home=home), everybody, real, decisions)
    pairs = {
        path.parents[1].name: (path.stem.removeprefix("versus-"), path.parent.name)
        for path in sorted((home / "desk").glob("*/*/versus-*.json"))
    }
    counted = {"users": len(everybody), "decisions": decisions, "features": features}
    return Stage(home, real, whole, models, pairs, counted)


def _widen_desk(desk: Path, features: int) -> dict[str, list[str]]:
    """Let every card, and what was learned, speak of so many features; heads by model."""
    found: dict[str, list[str]] = {}
    for path in sorted(desk.glob("*/*/card.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        card["features"] = _widened(card["features"], features, "name")
        for one in card["heads"].values():
            one["weights"] = _widened(one["weights"], features, "feature")
        path.write_text(json.dumps(card, ensure_ascii=False), encoding="utf-8")
        for learned in sorted(path.parent.glob("learned/*.json")):
            told = json.loads(learned.read_text(encoding="utf-8"))
            told["bars"] = _widened(told["bars"], features, "feature")
            learned.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        found[path.parents[1].name] = [
            name for name in card["heads"] if (path.parent / f"learned/{name}.json").exists()
        ]
    return found


def _widened(rows: Sequence[Mapping[str, Any]], count: int, key: str) -> list[Mapping[str, Any]]:
    more = [
        {**rows[number % len(rows)], key: f"{rows[number % len(rows)][key]}_{number}", "group": None}
        for number in range(count - len(rows) if rows else 0)
    ]
    return [*rows, *(one if "group" in rows[0] else {k: v for k, v in one.items() if k != "group"} for one in more)]


def _more_users(source: Path, home: Path, users: int, features: int) -> tuple[list[str], list[str]]:
    """Snapshots and the online store with so many users; the real ids, and all of them."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    newest = sorted((source / "features" / "user").glob("[!.]*.parquet"))[-SNAPSHOTS:]
    if not newest:
        raise UseropsError(f"{source} has no snapshot of features", run="userops features build")
    real = [str(one) for one in parquet.read_table(newest[-1], columns=["user_id"])["user_id"].to_pylist()]
    everybody = [one if not copy else f"{one}-{copy}" for copy in range(-(-users // len(real))) for one in real][:users]
    folder = home / "features" / "user"
    folder.mkdir(parents=True)
    for path in newest:
        table = parquet.read_table(path)
        named = [name for name in table.schema.names if name not in ("user_id", "as_of", "built_at")]
        for number in range(features - len(named)):
            table = table.append_column(f"more_{number}", table[named[number % len(named)]])
        copies = [table]
        for copy in range(1, -(-users // len(real))):
            ids = pa.array(
                [f"{one}-{copy}" for one in table["user_id"].to_pylist()], table.schema.field("user_id").type
            )
            copies.append(table.set_column(table.schema.names.index("user_id"), table.schema.field("user_id"), ids))
        whole = pa.concat_tables(copies).slice(0, users).sort_by("user_id")
        parquet.write_table(whole.replace_schema_metadata(table.schema.metadata), folder / path.name,
                            row_group_size=10_240)  # fmt: skip
    store = online.open_store(f"sqlite:///{online.path_of(home)}")
    try:
        rows = dict(zip(real, store.read(vectors.entity_keys(real), (VECTOR, PROFILE)), strict=True))
        keys = vectors.entity_keys(everybody)
        fresh = slice(len(real), None)
        with store.publication() as writer:
            writer.write(
                {
                    cell: [
                        (key, *found, found[1])
                        for key, user in zip(keys[fresh], everybody[fresh], strict=True)
                        if (found := rows[user.rpartition("-")[0]][place]) is not None
                    ]
                    for place, cell in enumerate((VECTOR, PROFILE))
                }
            )
    finally:
        store.close()
    asked = np.random.default_rng(1).permutation(len(real))[:200]
    return [real[row] for row in asked], everybody


def _more_decisions(config: Config, everybody: Sequence[str], real: Sequence[str], count: int) -> list[str]:
    """A decision log of so many rows; the ids of decisions that are whole."""
    from serving.local import decide

    explain = {"level": "full", "top_n": 3, "lang": "en"}
    for user in real[:20]:
        with suppress(UseropsError):
            decide(config, {"user_id": user, "context": {"channel": "app"}, "limit": 3, "explain": explain})
    with closing(sqlite3.connect(config.home / "decisions.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        made = connection.execute("SELECT decision_id, decided_at_us FROM decisions ORDER BY decided_at_us").fetchall()
        if not made:
            raise UseropsError("nothing could be decided", run="userops release, with a policy and offers")
        connection.execute("CREATE TEMP TABLE templates AS SELECT row_number() OVER () - 1 AS place, * FROM decisions")
        connection.execute("CREATE TEMP TABLE people (place INTEGER PRIMARY KEY, user_id TEXT)")
        connection.executemany("INSERT INTO people VALUES (?, ?)", enumerate(everybody))
        until, step = int(made[0][1]), max(1, DAYS_US // count)
        new_id, at = "printf('d_%026x', n)", f"{until} - ({count} - n) * {step}"
        for first, last, whole in ((0, count - WHOLE, False), (max(0, count - WHOLE), count - len(made), True)):
            if first >= last:
                continue
            large = "t.candidates, t.inputs, t.response, t.packed" if whole else "x'', '{}', '{}', NULL"
            for table, columns, values, more in (
                ("decisions",
                 "decision_id, request_id, user_id, decided_at_us, status, status_reason, body_digest, release_id, "
                 "policy_digest, vector_hash, history_hash, candidates, inputs, response, packed",
                 f"{new_id}, printf('q_%x', n), p.user_id, {at}, t.status, t.status_reason, t.body_digest, "
                 f"t.release_id, t.policy_digest, t.vector_hash, t.history_hash, {large}", ""),
                ("decision_offers",
                 "decision_id, rank, offer_id, p, action_probability, priority, channel, placement, responded_at_us",
                 f"{new_id}, o.rank, o.offer_id, o.p, o.action_probability, o.priority, o.channel, o.placement, NULL",
                 " JOIN decision_offers AS o ON o.decision_id = t.decision_id"),
            ):  # fmt: skip
                connection.execute(_FILL.format(table=table, columns=columns, values=values, more=more), (first, last))
        connection.commit()
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # A page of a decision reads its vector by user and digest: those of the copies belong to nobody who has one.
    return [one for one, _ in made]
