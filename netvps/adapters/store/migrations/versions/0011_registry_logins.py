"""Adds logins to registries."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds an empty table: runners pull without a login."""
    op.create_table(
        "registry_login",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
