"""The long parts of a decision compressed together; decisions of before stay as they are, and are read as they are.

Going back unpacks every decision. A process of the version before does not see what is packed: stop it first.
"""

import sqlalchemy as sa
from alembic import op

from serving.log.packed import unpack

revision = "0006"
down_revision = "0005"

FOLDED = ("decisions.packed",)  # going back writes it out
AT_ONCE = 500


def upgrade() -> None:
    """A place for it, which costs nothing where it is empty."""
    op.add_column("decisions", sa.Column("packed", sa.LargeBinary))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE decisions ALTER COLUMN packed SET STORAGE EXTERNAL")  # it is compressed


def downgrade() -> None:
    """Each part in its column again, byte for byte."""
    connection = op.get_bind()
    decisions = sa.table(
        "decisions",
        *(sa.column(name, sa.LargeBinary) for name in ("candidates", "packed")),
        *(sa.column(name, sa.Text) for name in ("decision_id", "inputs", "response")),
    )
    key, packed = decisions.c.decision_id, decisions.c.packed
    page = sa.select(key, packed).where(packed.is_not(None)).order_by(key).limit(AT_ONCE)
    change = (
        sa.update(decisions)
        .where(key == sa.bindparam("which"))
        .values({name: sa.bindparam(f"its_{name}") for name in ("inputs", "response", "candidates")})
    )
    last = ""
    while rows := connection.execute(page.where(key > last)).all():
        connection.execute(change, [_parts(*row) for row in rows])
        last = rows[-1][0]
    op.drop_column("decisions", "packed")


def _parts(decision_id: str, packed: bytes) -> dict[str, object]:
    inputs, response, candidates = unpack(packed)
    texts = {"its_inputs": inputs.decode(), "its_response": response.decode()}
    return {"which": decision_id, **texts, "its_candidates": candidates}
