"""Adds the audit log."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds an empty table, and the end of its chain."""
    op.add_column("clock", sa.Column("audit_number", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("clock", sa.Column("audit_digest", sa.Text(), nullable=False, server_default="0" * 64))
    op.create_table(
        "audit",
        sa.Column("number", _WHOLE, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger(), nullable=False, comment="microseconds since 1970"),
        sa.Column("actor", _NAME, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("action", _NAME, nullable=False),
        sa.Column("target", _NAME, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
    )
    op.create_index("audit_by_actor", "audit", ["actor", "number"])
    op.create_index("audit_by_target", "audit", ["target", "number"])
