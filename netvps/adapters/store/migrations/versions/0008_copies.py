"""Adds copies of snapshots, and sessions that move."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds empty tables, and columns that are empty: no snapshot should have further copies, and no session moves."""
    op.add_column("snapshot", sa.Column("lacks", _NAME, nullable=False, server_default=""))
    op.create_index("snapshot_by_lacks", "snapshot", ["lacks"])
    op.create_table(
        "copy",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("snapshot", _NAME, nullable=False),
        sa.Column("session", _NAME, nullable=False),
        sa.Column("runner", _NAME, nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    for column in ("snapshot", "session", "runner"):
        op.create_index(f"copy_by_{column}", "copy", [column])
    op.add_column("session", sa.Column("moving", _NAME, nullable=False, server_default=""))
    op.create_index("session_by_moving", "session", ["moving"])
    op.create_table(
        "eviction",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("session", _NAME, nullable=False),
        sa.Column("runner", _NAME, nullable=False),
        sa.Column("state", _NAME, nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    for column in ("session", "runner", "state"):
        op.create_index(f"eviction_by_{column}", "eviction", [column])
