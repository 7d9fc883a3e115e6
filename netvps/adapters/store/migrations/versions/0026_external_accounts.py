"""Adds accounts at an OIDC issuer."""  # noqa: INP001 — alembic loads it by its path

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Adds an empty table: no user has an account at an issuer."""
    op.create_table(
        "external_account",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("user", _NAME, nullable=False),
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )
    op.create_index("external_account_by_user", "external_account", ["user"])
