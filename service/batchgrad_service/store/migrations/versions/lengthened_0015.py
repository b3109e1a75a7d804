# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Give a job the step from which it trains further after its end."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("lengthened_step", sa.BigInteger))


def downgrade() -> None:
    """Revert."""
    op.drop_column("jobs", "lengthened_step")
