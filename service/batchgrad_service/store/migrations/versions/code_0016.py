# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Give a job the digest of the code that it brought along."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("code", sa.String(80)))


def downgrade() -> None:
    """Revert."""
    op.drop_column("jobs", "code")
