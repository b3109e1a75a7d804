# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Add columns for each job's newest stored message, step and evaluation."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = {
    "heard_attempt": sa.Integer,
    "heard_line": sa.BigInteger,
    "recorded_step": sa.BigInteger,
    "evaluated_step": sa.BigInteger,
}


def upgrade() -> None:
    """Apply; for existing jobs derive the values from their rows and events."""
    for name, kind in COLUMNS.items():
        op.add_column("jobs", sa.Column(name, kind(), nullable=False, server_default="0"))
    jobs = sa.table("jobs", sa.column("id"), *(sa.column(name) for name in COLUMNS))
    steps = sa.table("steps", sa.column("job_id"), sa.column("step"))
    events = sa.table("events", sa.column("job_id"), sa.column("type"), sa.column("data", sa.JSON))
    recorded = sa.select(sa.func.coalesce(sa.func.max(steps.c.step), 0)).where(
        steps.c.job_id == jobs.c.id
    )
    evaluated = sa.select(
        sa.func.coalesce(sa.func.max(events.c.data["step"].as_integer()), 0)
    ).where(events.c.job_id == jobs.c.id, events.c.type == "evaluation")
    op.execute(
        jobs.update().values(
            recorded_step=recorded.scalar_subquery(), evaluated_step=evaluated.scalar_subquery()
        )
    )


def downgrade() -> None:
    """Revert."""
    for name in COLUMNS:
        op.drop_column("jobs", name)
