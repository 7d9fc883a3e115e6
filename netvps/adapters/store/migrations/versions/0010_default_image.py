"""Adds the default image that an admin chose."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds an empty table: the server's setting holds."""
    op.create_table(
        "default_image",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
