# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Give a dataset the arrays that it holds; inputs and targets need not be among them."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("datasets") as datasets:
        datasets.add_column(sa.Column("arrays", sa.JSON))
        datasets.alter_column("input_dtype", existing_type=sa.String(32), nullable=True)
        datasets.alter_column("target_kind", existing_type=sa.String(16), nullable=True)


def downgrade() -> None:
    """Revert; datasets without inputs or targets lose their names."""
    op.execute("DELETE FROM datasets WHERE input_dtype IS NULL OR target_kind IS NULL")
    with op.batch_alter_table("datasets") as datasets:
        datasets.alter_column("target_kind", existing_type=sa.String(16), nullable=False)
        datasets.alter_column("input_dtype", existing_type=sa.String(32), nullable=False)
        datasets.drop_column("arrays")
