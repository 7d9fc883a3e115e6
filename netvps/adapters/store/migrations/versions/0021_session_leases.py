"""Adds leases of sessions."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds an empty table: no session is leased."""
    op.create_table(
        "session_lease",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
