# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Add the column `steps.weight`: the sum of the weights of a step's examples."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("steps", sa.Column("weight", sa.Float()))


def downgrade() -> None:
    """Revert."""
    op.drop_column("steps", "weight")
