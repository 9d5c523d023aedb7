"""Counters in parts, so that who decides at once waits for nobody; in PostgreSQL a quicker packing of long values.

Every decision adds to the counters of its channel and offers. With one row each, and a lock on it until the commit is
on disk, a fleet of any size decides as often a second as one disk can write. Going back adds the parts up again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

COUNTERS = {
    "offer_counts": (("offer_id", "day", "event", "placement"), ("n",)),
    "channel_counts": (("day", "channel"), ("shown", "responded")),
}
FOLDED = ("offer_counts.part", "channel_counts.part")  # going back adds them up
LONG = {"decisions": ("candidates", "inputs", "response"), "contents": ("content",)}


def upgrade() -> None:
    """Every counter is part 0 of itself; lz4 where the server knows it, for what is written from now on."""
    for table, (keys, counts) in COUNTERS.items():
        part = sa.Column("part", sa.Integer, primary_key=True, autoincrement=False)
        _again(table, keys, counts, [part], f"SELECT {', '.join((*keys, '0', *counts))} FROM {table}_before")
    if _knows_lz4():
        _pack("lz4")


def downgrade() -> None:
    """One row per counter again, and the packing of before; no count is lost."""
    for table, (keys, counts) in COUNTERS.items():
        sums = (f"CAST(sum({name}) AS BIGINT)" for name in counts)
        named = ", ".join(keys)
        _again(table, keys, counts, [], f"SELECT {', '.join((named, *sums))} FROM {table}_before GROUP BY {named}")
    if _knows_lz4():
        _pack("default")


def _again(table: str, keys: tuple[str, ...], counts: tuple[str, ...], more: list[sa.Column[int]], rows: str) -> None:
    # SQLite changes no primary key; these tables are small.
    op.rename_table(table, f"{table}_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX {table}_pkey RENAME TO {table}_before_pkey")
    op.create_table(
        table,
        *(sa.Column(name, sa.Text, primary_key=True) for name in keys),
        *more,
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in counts),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO {table} {rows}")
    op.drop_table(f"{table}_before")


def _knows_lz4() -> bool:
    if op.get_bind().dialect.name != "postgresql":
        return False
    sql = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    return bool(op.get_bind().execute(sa.text(sql)).scalar())


def _pack(how: str) -> None:
    for table, columns in LONG.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET COMPRESSION {how}")
