"""Adds the resource claims of sessions as columns, so that scheduling one does not read all."""  # noqa: INP001 — alembic loads it by its path

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBERS = ("cpu_claim", "memory_claim")
_AT_ONCE = 1000
_session = sa.table("session", *map(sa.column, ("key", "data", *_NUMBERS)))


def upgrade() -> None:
    """Adds the columns and their index, and fills them."""
    for name in _NUMBERS:
        op.add_column("session", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    database = op.get_bind()
    fill = (
        sa.update(_session)
        .where(_session.c.key == sa.bindparam("session"))
        .values(cpu_claim=sa.bindparam("cpus"), memory_claim=sa.bindparam("memory"))
    )
    rows = [_claims(*row) for row in database.execute(sa.select(_session.c.key, _session.c.data))]
    for start in range(0, len(rows), _AT_ONCE):
        database.execute(fill, rows[start : start + _AT_ONCE])
    indexed = ["desired", "runner", *_NUMBERS]
    op.create_index(f"session_by_{'_'.join(indexed)}", "session", indexed)


def _claims(key: str, data: str) -> dict[str, Any]:
    """Computes claims as netvps.domain.session.session.Session did at this version."""
    spec = json.loads(data)["spec"]
    return {
        "session": key,
        "cpus": round(spec.get("cpus", 0) * 1000) or 1000,
        "memory": spec.get("memory_bytes", 0) or 1 << 30,
    }
