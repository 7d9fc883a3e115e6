"""Adds the last uses of API keys."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds an empty table: no use is known."""
    op.create_table(
        "key_use",
        sa.Column("kid", _NAME, primary_key=True),
        sa.Column("time", sa.BigInteger(), nullable=False, comment="microseconds since 1970"),
    )
