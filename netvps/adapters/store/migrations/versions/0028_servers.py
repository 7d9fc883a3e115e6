"""Adds the servers that share the database."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0026"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds an empty table: servers of an older version are not in it, and hear of changes within a second."""
    op.create_table(
        "server",
        sa.Column("uid", _NAME, primary_key=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column(
            "expiry", sa.BigInteger(), nullable=False, comment="microseconds since 1970, of the database's clock"
        ),
    )
