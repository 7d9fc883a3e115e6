"""Adds indexed columns for fingerprints of sessions' keys and for uses of tokens, to find rows without reading all."""  # noqa: INP001 — alembic loads it by its path

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_AT_ONCE = 200
_session = sa.table("session", *map(sa.column, ("key", "name", "owner", "data", "key_fingerprints")))
_values = sa.table("session_key_fingerprints", *map(sa.column, ("value", "name", "owner", "key")))
_credential = sa.table("credential", *map(sa.column, ("key", "purpose", "used_by", "used_for", "data")))
_runner = sa.table("runner", sa.column("key"))


def upgrade() -> None:
    """Adds the columns, the table and the indexes, and fills them."""
    op.add_column("session", sa.Column("key_fingerprints", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "session_key_fingerprints",
        sa.Column("value", _NAME, primary_key=True),
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("owner", _NAME, primary_key=True),
        sa.Column("key", _NAME, nullable=False),
    )
    op.create_index("session_key_fingerprints_by_key", "session_key_fingerprints", ["key"])
    for name in ("used_by", "used_for"):
        op.add_column("credential", sa.Column(name, _NAME, nullable=False, server_default=""))
    op.create_index("credential_by_purpose_used_by", "credential", ["purpose", "used_by"])
    op.create_index("credential_by_used_for", "credential", ["used_for"])
    database = op.get_bind()
    _fill_sessions(database)
    _fill_credentials(database)


def _fill_sessions(database: sa.Connection) -> None:
    fill = (
        sa.update(_session)
        .where(_session.c.key == sa.bindparam("session"))
        .values(key_fingerprints=sa.bindparam("fingerprints"))
    )
    for rows in _in_parts(database, _session, ("key", "name", "owner", "data")):
        found = [(row, prints) for row in rows if (prints := _fingerprints(row.data))]
        if found:
            database.execute(fill, [{"session": row.key, "fingerprints": " ".join(prints)} for row, prints in found])
            values = [
                {"value": value, "name": row.name, "owner": row.owner, "key": row.key}
                for row, prints in found
                for value in prints
            ]
            database.execute(sa.insert(_values), values)


def _fill_credentials(database: sa.Connection) -> None:
    """Fills the columns, and deletes join tokens of removed runners: from now on these go with their runner."""
    fill = (
        sa.update(_credential)
        .where(_credential.c.key == sa.bindparam("kid"))
        .values(used_by=sa.bindparam("by"), used_for=sa.bindparam("what"))
    )
    for rows in _in_parts(database, _credential, ("key", "data")):
        used = [
            {"kid": row.key, "by": data["used_by"], "what": data["used_for"]} for row in rows if (data := _use(row))
        ]
        if used:
            database.execute(fill, used)
    gone = _credential.c.used_for.not_in(sa.select(_runner.c.key))
    database.execute(
        sa.delete(_credential).where(_credential.c.purpose == "join", _credential.c.used_by != "", gone)
    )  # fmt: skip


def _in_parts(database: sa.Connection, table: sa.TableClause, columns: tuple[str, ...]) -> Iterator[list[Any]]:
    """Yields all rows in batches: a session may have megabytes."""
    last = ""
    while True:
        statement = sa.select(*(table.c[name] for name in columns)).where(table.c.key > last).order_by(table.c.key)
        rows = list(database.execute(statement.limit(_AT_ONCE)))
        if not rows:
            return
        yield rows
        last = rows[-1].key


def _fingerprints(data: str) -> list[str]:
    """Computes fingerprints as netvps.domain.session.session.Session did at this version."""
    blobs = (base64.b64decode(line.split()[1]) for line in json.loads(data)["spec"].get("authorized_keys", ()))
    return sorted({"SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=") for blob in blobs})


def _use(row: Any) -> dict[str, str] | None:
    data = json.loads(row.data)
    return {"used_by": data["used_by"], "used_for": data.get("used_for", "")} if data.get("used_by") else None
