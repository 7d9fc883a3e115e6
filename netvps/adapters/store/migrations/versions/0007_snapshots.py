"""Adds snapshots, and what a session that is being cloned waits for."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds an empty table, and a column that is empty for all sessions."""
    op.add_column("session", sa.Column("awaits", _NAME, nullable=False, server_default=""))
    op.create_index("session_by_awaits", "session", ["awaits"])
    op.create_table(
        "snapshot",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("session", _NAME, nullable=False),
        sa.Column("owner", _NAME, nullable=False),
        sa.Column("id", _NAME, nullable=False),
        sa.Column("state", _NAME, nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    op.create_index("snapshot_by_session_id", "snapshot", ["session", "id"], unique=True)
    op.create_index("snapshot_by_owner", "snapshot", ["owner"])
    op.create_index("snapshot_by_state", "snapshot", ["state"])
