# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Keep the accounting of private jobs, what they spend on datasets, and datasets' budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("privacy", sa.JSON(none_as_null=True)))
    op.add_column("jobs", sa.Column("epsilon_spent", sa.Float))
    op.create_table(
        "privacy_spending",
        sa.Column("job_id", sa.String(32), primary_key=True),
        sa.Column("dataset_digest", sa.String(80), primary_key=True),
        sa.Column("epsilon", sa.Float, nullable=False),
        sa.Column("delta", sa.Float, nullable=False),
        sa.Column("reserved", sa.Boolean, nullable=False),
    )
    op.create_index("ix_privacy_spending_dataset_digest", "privacy_spending", ["dataset_digest"])
    op.create_table(
        "privacy_budgets",
        sa.Column("dataset_digest", sa.String(80), primary_key=True),
        sa.Column("epsilon", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Revert."""
    op.drop_table("privacy_budgets")
    op.drop_index("ix_privacy_spending_dataset_digest", table_name="privacy_spending")
    op.drop_table("privacy_spending")
    op.drop_column("jobs", "epsilon_spent")
    op.drop_column("jobs", "privacy")
