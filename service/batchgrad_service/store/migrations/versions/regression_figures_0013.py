# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Give a job the R² and the RMSE of its last evaluation."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("validation_r2", sa.Float))
    op.add_column("jobs", sa.Column("validation_rmse", sa.Float))


def downgrade() -> None:
    """Revert."""
    op.drop_column("jobs", "validation_rmse")
    op.drop_column("jobs", "validation_r2")
