# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Keep the buckets of a job's charts: each figure's sum, count, minimum and maximum."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: the buckets of old jobs are made when they are first asked for."""
    op.create_table(
        "step_curves",
        sa.Column(
            "job_id", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("upto", sa.BigInteger, nullable=False),
        sa.Column("width", sa.BigInteger, nullable=False),
        sa.Column("names", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Revert."""
    op.drop_table("step_curves")
