# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Replace the columns of a job's newest figures by one JSON object, `jobs.figures`."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COLUMNS = ("loss", "learning_rate", "gradient_norm", "noise_scale")


def _jobs() -> sa.TableClause:
    columns = [sa.column(name, sa.Float) for name in COLUMNS]
    return sa.table("jobs", sa.column("id"), sa.column("figures", sa.JSON), *columns)


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("figures", sa.JSON, nullable=False, server_default="{}"))
    jobs, connection = _jobs(), op.get_bind()
    for row in connection.execute(sa.select(jobs)).mappings().all():
        figures = {name: row[name] for name in COLUMNS}
        connection.execute(jobs.update().where(jobs.c.id == row["id"]).values(figures=figures))
    for name in COLUMNS:
        op.drop_column("jobs", name)


def downgrade() -> None:
    """Revert; figures that had no column are lost."""
    for name in COLUMNS:
        op.add_column("jobs", sa.Column(name, sa.Float))
    jobs, connection = _jobs(), op.get_bind()
    for row in connection.execute(sa.select(jobs)).mappings().all():
        figures = {name: row["figures"].get(name) for name in COLUMNS}
        connection.execute(jobs.update().where(jobs.c.id == row["id"]).values(**figures))
    op.drop_column("jobs", "figures")
