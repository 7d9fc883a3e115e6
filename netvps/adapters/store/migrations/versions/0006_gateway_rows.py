"""Removes the runners that servers added for their own machines (ADR 0026)."""  # noqa: INP001 — alembic loads it by its path

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_clock = sa.table("clock", *map(sa.column, ("revision", "log_bytes")))
_log = sa.table("log", *map(sa.column, ("revision", "kind", "key", "deleted", "actor", "time", "data", "end_bytes")))
_runner = sa.table("runner", *map(sa.column, ("key", "data")))
_lease = sa.table("lease", *map(sa.column, ("key", "runner", "data")))


def upgrade() -> None:
    """Removes the rows and their subnets, and logs that, so that runners remove these peers from their netmap."""
    database = op.get_bind()
    rows = database.execute(sa.select(_runner.c.key, _runner.c.data)).all()
    for uid in [row.key for row in rows if json.loads(row.data).get("gateway_only")]:
        _remove(database, _lease, _lease.c.runner == uid)
        _remove(database, _runner, _runner.c.key == uid)


def _remove(database: sa.Connection, table: sa.TableClause, matching: sa.ColumnElement[bool]) -> None:
    """Deletes rows and logs their last state, as netvps.adapters.store.views.SqlTransaction did at this version."""
    for row in database.execute(sa.select(table.c.key, table.c.data).where(matching)).all():
        database.execute(sa.delete(table).where(table.c.key == row.key))
        size = len(row.data.encode())
        database.execute(sa.update(_clock).values(revision=_clock.c.revision + 1, log_bytes=_clock.c.log_bytes + size))
        now = database.execute(sa.select(_clock.c.revision, _clock.c.log_bytes)).one()
        entry = {"kind": table.name, "key": row.key, "deleted": True, "actor": "migration", "data": row.data}
        place = {"revision": now.revision, "end_bytes": now.log_bytes, "time": time.time_ns() // 1000}
        database.execute(sa.insert(_log).values(entry | place))
