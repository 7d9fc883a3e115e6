"""Adds tasks."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0022"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_COLUMNS = ("array", "owner", "runner", "state", "action", "gpu_holder")
_INDEXES = (
    ("array",),
    ("owner", "state"),
    ("runner", "action"),
    ("state", "runner", "cpu_claim", "memory_claim"),
    ("action",),
    ("gpu_holder",),
)


def upgrade() -> None:
    """Adds an empty table."""
    op.create_table(
        "task",
        sa.Column("key", _NAME, primary_key=True),
        *(
            sa.Column(column, _NAME, nullable=False, server_default="" if column == "gpu_holder" else None)
            for column in _COLUMNS
        ),
        *(
            sa.Column(column, sa.BigInteger(), nullable=False, server_default="0")
            for column in ("cpu_claim", "memory_claim")
        ),
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    for columns in _INDEXES:
        op.create_index(f"task_by_{'_'.join(columns)}", "task", list(columns))
