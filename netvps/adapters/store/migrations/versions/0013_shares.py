"""Adds shares of sessions."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds an empty table: nothing is shared."""
    op.create_table(
        "share",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("session", _NAME, nullable=False),
        sa.Column("user", _NAME, nullable=False),
        sa.Column("owner", _NAME, nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    for column in ("session", "user", "owner"):
        op.create_index(f"share_by_{column}", "share", [column])
