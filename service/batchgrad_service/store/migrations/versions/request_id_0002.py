# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Add the column `jobs.request_id`: the request that submitted the job."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("request_id", sa.String(64)))


def downgrade() -> None:
    """Revert."""
    op.drop_column("jobs", "request_id")
