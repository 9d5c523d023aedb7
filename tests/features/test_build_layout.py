"""How a snapshot of users lies in its file: by user id, in groups so small that one user's row is quick to read."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import load
from features.build import build, snapshot_path
from features.events import COLUMNS

AS_OF = datetime(2011, 9, 10, tzinfo=UTC)
TYPES = {"string": pa.string(), "float64": pa.float64()}
USERS = 25_000


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The snapshot of `USERS` users, a few with ids from outside ASCII, whose events come in no order at all."""
    import ibis

    config = load(home=tmp_path_factory.mktemp("layout"), now=AS_OF)
    ids = [f"u{(k * 7919) % USERS}" for k in range(USERS - 3)] + ["用户", "🙂", "Ü"]
    at = [AS_OF - timedelta(hours=1 + k % 500) for k in range(USERS)]
    own = {"event_id": [f"e{k}" for k in range(USERS)], "user_id": ids, "event_at": at, "ingested_at": at}
    own["event_type"] = ["visit"] * USERS
    columns = {
        name: pa.array(own.get(name, [None] * USERS), TYPES.get(kind, pa.timestamp("us", tz="UTC")))
        for name, kind in COLUMNS.items()
    }
    build(config, [AS_OF], source_events=ibis.memtable(pa.table(columns)))
    return snapshot_path(config, "user", AS_OF), ids


def test_users_lie_in_the_order_of_the_bytes_of_their_ids(file):
    path, ids = file
    written = pq.read_table(path, columns=["user_id"])["user_id"].to_pylist()
    assert written == sorted(ids, key=str.encode)


def test_no_group_is_larger_than_one_row_should_cost(file):
    footer = pq.read_metadata(file[0])
    groups = [footer.row_group(k) for k in range(footer.num_row_groups)]
    assert max(group.num_rows for group in groups) <= 10_240
    ends = [(group.column(0).statistics.min, group.column(0).statistics.max) for group in groups]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
