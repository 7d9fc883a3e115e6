"""Adds the overlay addresses of sessions, as a unique column."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds the column and its index; no session has an address yet."""
    op.add_column("session", sa.Column("overlay_address", _NAME, nullable=False, server_default=""))
    given = sa.text("overlay_address != ''")
    op.create_index(
        "session_by_overlay_address",
        "session",
        ["overlay_address"],
        unique=True,
        sqlite_where=given,
        postgresql_where=given,
    )
