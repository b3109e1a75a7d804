# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Rename the key checkpoint_seconds of stored specs to checkpoint_interval_seconds."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _rename("checkpoint_seconds", "checkpoint_interval_seconds")


def downgrade() -> None:
    """Revert."""
    _rename("checkpoint_interval_seconds", "checkpoint_seconds")


def _rename(before: str, after: str) -> None:
    jobs = sa.table("jobs", sa.column("id"), sa.column("spec", sa.JSON))
    connection = op.get_bind()
    for job_id, spec in connection.execute(sa.select(jobs.c.id, jobs.c.spec)).all():
        renamed = {after if key == before else key: value for key, value in spec.items()}
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(spec=renamed))
