"""Find a person in every table, so that erasing one does not read them all."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = ("decisions", "feedback", "identities")


def upgrade() -> None:
    """An index by user where there is none."""
    for table in TABLES:
        op.create_index(f"{table}_by_user", table, ["user_id"])


def downgrade() -> None:
    """Without them; no row is lost."""
    for table in TABLES:
        op.drop_index(f"{table}_by_user", table)
