"""Adds which sessions have rules for their sleep, so that the idle rules read no others."""  # noqa: INP001 — alembic loads it by its path

import json

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0013"
branch_labels = None
depends_on = None

_AT_ONCE = 1000
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_session = sa.table("session", *map(sa.column, ("key", "data", "sleep_rule")))


def upgrade() -> None:
    """Adds the column and its index, and fills it."""
    op.add_column("session", sa.Column("sleep_rule", _NAME, nullable=False, server_default=""))
    database = op.get_bind()
    rows = database.execute(sa.select(_session.c.key, _session.c.data))
    ruled = [row.key for row in rows if any(json.loads(row.data)["spec"].get("sleep", {}).values())]
    for start in range(0, len(ruled), _AT_ONCE):
        fill = sa.update(_session).where(_session.c.key.in_(ruled[start : start + _AT_ONCE]))
        database.execute(fill.values(sleep_rule="own"))
    op.create_index("session_by_sleep_rule_state", "session", ["sleep_rule", "state"])
