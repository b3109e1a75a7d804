# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Add the table `data_directory`: the data directory to which the database belongs."""

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
    """Revert."""
    op.drop_table("data_directory")
