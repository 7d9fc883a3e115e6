"""Creates the first schema: a table per kind of resource, the clock, the log, and meta."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Literal, not imported from tables.py: a migration must not change when the tables do.
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_RESOURCES = {
    "session": ("name", "owner", "runner", "state", "desired"),
    "runner": ("name", "state"),
    "lease": ("runner",),
    "user": ("role",),
    "ssh_key": ("fingerprint", "owner"),
    "credential": ("purpose", "subject"),
    "request": (),
}
_UNIQUE = (("session", "owner", "name"), ("runner", "name"), ("lease", "runner"), ("ssh_key", "fingerprint"))
_INDEXED = (
    ("session", "name", "owner"),
    ("session", "runner"),
    ("session", "state"),
    ("ssh_key", "owner"),
    ("credential", "subject"),
)


def upgrade() -> None:
    """Creates all tables and sets the clock to 0."""
    clock = op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("revision", _WHOLE, nullable=False),
    )
    op.bulk_insert(clock, [{"id": 1, "revision": 0}])
    op.create_table(
        "meta",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "log",
        sa.Column("revision", _WHOLE, primary_key=True, autoincrement=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("key", _NAME, nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False, comment="microseconds since 1970"),
        sa.Column("data", sa.Text(), nullable=False),
    )
    for name, columns in _RESOURCES.items():
        op.create_table(
            name,
            sa.Column("key", _NAME, primary_key=True),
            *(sa.Column(column, _NAME, nullable=False) for column in columns),
            sa.Column("revision", _WHOLE, nullable=False),
            sa.Column("data", sa.Text(), nullable=False),
        )
    for unique, indexes in ((True, _UNIQUE), (False, _INDEXED)):
        for table, *indexed in indexes:
            op.create_index(f"{table}_by_{'_'.join(indexed)}", table, list(indexed), unique=unique)
