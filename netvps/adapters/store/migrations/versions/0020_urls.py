"""Adds stored URLs of sessions."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds an empty table: no more people than before may open a port."""
    op.create_table(
        "url",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("session", _NAME, nullable=False),
        sa.Column("owner", _NAME, nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    for column in ("session", "owner"):
        op.create_index(f"url_by_{column}", "url", [column])
