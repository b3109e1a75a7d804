# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Add `jobs.best`, `jobs.last_parameters_digest`, `checkpoints.best`: the best evaluation."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("last_parameters_digest", sa.String(80)))
    op.add_column("jobs", sa.Column("best", sa.JSON()))
    op.add_column("checkpoints", sa.Column("best", sa.JSON()))
    op.execute("UPDATE jobs SET last_parameters_digest = parameters_digest")


def downgrade() -> None:
    """Revert."""
    op.drop_column("checkpoints", "best")
    op.drop_column("jobs", "best")
    op.drop_column("jobs", "last_parameters_digest")
