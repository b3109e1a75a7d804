# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Give a dataset the columns of the table that it was made from."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("datasets", sa.Column("table", sa.JSON))


def downgrade() -> None:
    """Revert."""
    op.drop_column("datasets", "table")
