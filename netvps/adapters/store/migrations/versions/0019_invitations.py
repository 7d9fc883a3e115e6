"""Adds invitations."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds an empty table: no one is invited."""
    op.create_table(
        "invitation",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("issuer", _NAME, nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    op.create_index("invitation_by_issuer", "invitation", ["issuer"])
