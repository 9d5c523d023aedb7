"""Decisions with their offers, feedback, counters, live behaviour and people.

Going back removes the log.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT, US, REAL, BYTES = sa.Text, sa.BigInteger, sa.Double, sa.LargeBinary
SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers only an INTEGER by itself


def upgrade() -> None:
    """Every table; those that are read by their key alone lie in its order in SQLite."""
    op.create_table(
        "decisions",
        sa.Column("decision_id", TEXT, primary_key=True),
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("decided_at_us", US, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("status_reason", TEXT),
        sa.Column("body_digest", TEXT, nullable=False),
        sa.Column("release_id", TEXT, nullable=False),
        sa.Column("policy_digest", TEXT, nullable=False),
        sa.Column("vector_hash", TEXT, nullable=False),
        sa.Column("history_hash", TEXT, nullable=False),
        sa.Column("candidates", BYTES, nullable=False),
        sa.Column("inputs", TEXT, nullable=False),
        sa.Column("response", TEXT, nullable=False),
    )
    op.create_index("decisions_by_time", "decisions", ["decided_at_us", "decision_id"])
    # Apart from decisions, because a request id may come again when its time is over.
    op.create_table(
        "requests",
        sa.Column("request_id", TEXT, primary_key=True),
        sa.Column("decision_id", TEXT, nullable=False),
        sa.Column("body_digest", TEXT, nullable=False),
        sa.Column("decided_at_us", US, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "decision_offers",
        sa.Column("decision_id", TEXT, primary_key=True),
        sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offer_id", TEXT, nullable=False),
        sa.Column("p", REAL),
        sa.Column("action_probability", REAL),
        sa.Column("priority", REAL),
        sa.Column("channel", TEXT),
        sa.Column("placement", TEXT),
        sa.Column("responded_at_us", US),
        sqlite_with_rowid=False,
    )
    # By person as well as by content, so that a person can be taken out without counting who else has the same.
    op.create_table(
        "contents",
        sa.Column("user_id", TEXT, primary_key=True),
        sa.Column("hash", TEXT, primary_key=True),
        sa.Column("content", BYTES, nullable=False),
    )
    op.create_table(
        "actions",
        sa.Column("user_id", TEXT, primary_key=True),
        sa.Column("at_us", US, primary_key=True, autoincrement=False),
        sa.Column("source", TEXT, primary_key=True),
        sa.Column("event", TEXT, nullable=False),
        sa.Column("offer_id", TEXT, nullable=False),
        sa.Column("placement", TEXT),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "offer_counts",
        sa.Column("offer_id", TEXT, primary_key=True),
        sa.Column("day", TEXT, primary_key=True),
        sa.Column("event", TEXT, primary_key=True),
        sa.Column("placement", TEXT, primary_key=True),
        sa.Column("n", US, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "channel_counts",
        sa.Column("day", TEXT, primary_key=True),
        sa.Column("channel", TEXT, primary_key=True),
        sa.Column("shown", US, nullable=False),
        sa.Column("responded", US, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feedback",
        sa.Column("event_id", TEXT, primary_key=True),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("decision_id", TEXT, nullable=False),
        sa.Column("offer_id", TEXT, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("at_us", US, nullable=False),
        sa.Column("received_at_us", US, nullable=False),
        sa.Column("late", sa.Integer, nullable=False),
        sa.Column("value", REAL),
        sa.Column("currency", TEXT),
        sa.Column("channel", TEXT),
        sa.Column("attributes", TEXT, nullable=False),
    )
    op.create_index("feedback_by_decision", "feedback", ["decision_id", "rank"])
    op.create_table(
        "feedback_keys",
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("body_digest", TEXT, nullable=False),
        sa.Column("answer", TEXT, nullable=False),
        sa.Column("received_at_us", US, nullable=False),
    )
    op.create_table(
        "live_events",
        sa.Column("seq", SEQ, primary_key=True, autoincrement=True),
        sa.Column("event_id", TEXT, nullable=False, unique=True),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("event_at_us", US, nullable=False),
        sa.Column("received_at_us", US, nullable=False),
        sa.Column("channel", TEXT),
        sa.Column("category_id", TEXT),
        sa.Column("item_id", TEXT),
        sa.Column("store_id", TEXT),
        sa.Column("order_id", TEXT),
        sa.Column("quantity", REAL),
        sa.Column("amount", REAL),
        sa.Column("props", TEXT),
        sa.Column("drained", sa.Integer, nullable=False, server_default="0"),
        sqlite_autoincrement=True,  # a place in the queue is never given twice
    )
    op.create_index("live_events_by_user", "live_events", ["user_id", "event_at_us"])
    undrained = sa.text("drained = 0")
    op.create_index("live_events_undrained", "live_events", ["seq"], sqlite_where=undrained, postgresql_where=undrained)
    op.create_table(
        "progress",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("seq", US, nullable=False),
        sa.Column("at_us", US, nullable=False),
    )
    op.create_table(
        "user_settings",
        sa.Column("user_id", TEXT, primary_key=True),
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("at_us", US, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identities",
        sa.Column("namespace", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("user_id", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """No table, no row."""
    for table in (
        "identities",
        "user_settings",
        "progress",
        "live_events",
        "feedback_keys",
        "feedback",
        "channel_counts",
        "offer_counts",
        "actions",
        "contents",
        "decision_offers",
        "requests",
        "decisions",
    ):
        op.drop_table(table)
    for table in ("salts", "forgotten"):  # of a later step, which keeps them
        op.drop_table(table, if_exists=True)
