# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Give stored events about auto's choice a type of their own: `plan` events had two shapes."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _rename("plan", "executor")


def downgrade() -> None:
    """Take back."""
    _rename("executor", "plan")


def _rename(before: str, after: str) -> None:
    columns = [sa.column("job_id"), sa.column("seq"), sa.column("type"), sa.column("data", sa.JSON)]
    events, connection = sa.table("events", *columns), op.get_bind()
    query = sa.select(events).where(events.c.type == before)
    for row in connection.execute(query).mappings().all():
        if "milliseconds" in row["data"]:  # a job's plan has no measured times
            this = (events.c.job_id == row["job_id"]) & (events.c.seq == row["seq"])
            connection.execute(events.update().where(this).values(type=after))
