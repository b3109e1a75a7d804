# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Write the default microbatch size of old jobs into their specs: it has grown for large N."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

DEFAULT, UNCHANGED_UPTO = 128, 2048
"""The size that these jobs had, and the largest N whose default is still the same."""


def upgrade() -> None:
    """Apply: a job that is resumed or replayed computes the bits that it had."""
    jobs = sa.table("jobs", sa.column("id"), sa.column("spec", sa.JSON))
    connection = op.get_bind()
    for job_id, spec in connection.execute(sa.select(jobs.c.id, jobs.c.spec)).all():
        size = spec.get("batch_size")
        if (
            spec.get("microbatch_size") is None
            and isinstance(size, int)
            and size > UNCHANGED_UPTO
            and not spec.get("privacy")
            and not spec["model"].get("torch")
        ):
            written = {**spec, "microbatch_size": DEFAULT}
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(spec=written))


def downgrade() -> None:
    """Revert nothing: the specs say what the default was."""
