"""Adds the disk claims of sessions, and which of them hold GPUs."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds the columns and their indexes: no session has a disk limit or a GPU yet."""
    op.add_column("session", sa.Column("disk_claim", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("session", sa.Column("gpu_holder", _NAME, nullable=False, server_default=""))
    op.create_index("session_by_runner_disk_claim", "session", ["runner", "disk_claim"])
    op.create_index("session_by_gpu_holder", "session", ["gpu_holder"])
