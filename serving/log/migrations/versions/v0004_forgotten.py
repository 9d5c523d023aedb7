"""Who was forgotten, as digests under a salt of this log, so that nothing is written of them again.

Going back forgets the list: whoever is on it can be written of again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TEXT, US = sa.Text, sa.BigInteger


def upgrade() -> None:
    """An empty list, and a place for its salt, which whoever opens the log first draws."""
    op.create_table(
        "forgotten",
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("at_us", US, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table("salts", sa.Column("name", TEXT, primary_key=True), sa.Column("salt", TEXT, nullable=False))


def downgrade() -> None:
    """No list."""
    op.drop_table("salts")
    op.drop_table("forgotten")
