"""Who was forgotten, as digests under a salt of this log, so that nothing is written of them again.

Going back keeps the list and its salt, though a version of before does not heed them: nobody who was forgotten may come
back because of a schema, and who answers with this version still, or again, must find the same digests.
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
        if_not_exists=True,
    )
    columns = sa.Column("name", TEXT, primary_key=True), sa.Column("salt", TEXT, nullable=False)
    op.create_table("salts", *columns, if_not_exists=True)


def downgrade() -> None:
    """As it is; the first step takes it away with the log."""
