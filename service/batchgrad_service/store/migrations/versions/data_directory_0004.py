# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Which data directory the database belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table("data_directory", sa.Column("id", sa.String(32), primary_key=True))


def downgrade() -> None:
    """Take back."""
    op.drop_table("data_directory")
