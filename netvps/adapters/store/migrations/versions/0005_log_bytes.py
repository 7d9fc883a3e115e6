"""Adds running totals of the log's bytes, so that it can be bounded by bytes, too."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns and the index, and fills them."""
    op.add_column("clock", sa.Column("log_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("log", sa.Column("end_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    size = "LENGTH(CAST(data AS BLOB))" if on_sqlite else "OCTET_LENGTH(data)"
    op.execute(
        "UPDATE log SET end_bytes = sums.total"  # noqa: S608 — only the two expressions above
        f" FROM (SELECT revision, SUM({size}) OVER (ORDER BY revision) AS total FROM log) AS sums"
        " WHERE log.revision = sums.revision"
    )
    op.execute("UPDATE clock SET log_bytes = (SELECT COALESCE(MAX(end_bytes), 0) FROM log)")
    op.create_index("log_by_end_bytes", "log", ["end_bytes"])
