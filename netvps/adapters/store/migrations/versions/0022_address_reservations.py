"""Adds reservations of addresses."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds an empty table: no address is reserved."""
    op.create_table(
        "address_reservation",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("user", _NAME, nullable=False),
        sa.Column("runner", _NAME, nullable=False),
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    for column in ("user", "runner"):
        op.create_index(f"address_reservation_by_{column}", "address_reservation", [column])
