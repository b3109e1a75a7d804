# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Give a job the digest of the dataset that it validates on, if that is another one."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("validation_digest", sa.String(80)))
    op.create_index("ix_jobs_validation_digest", "jobs", ["validation_digest"])


def downgrade() -> None:
    """Revert."""
    op.drop_index("ix_jobs_validation_digest", "jobs")
    op.drop_column("jobs", "validation_digest")
