# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Add the column `jobs.parameters_step`: the step of the parameters with `parameters_digest`."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("parameters_step", sa.BigInteger()))


def downgrade() -> None:
    """Revert."""
    op.drop_column("jobs", "parameters_step")
