# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Step rows in packed blocks."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from batchgrad.contract import StepRow
from batchgrad_service.store.schema import UtcDateTime
from batchgrad_service.store.step_blocks import blocks

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOST = 1000
"""Rows that are looked at together."""

_JOB = ("job_id", sa.String(32))


def _of_job() -> "sa.Column[str]":
    return sa.Column(*_JOB, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)


def _columns() -> "list[sa.Column[Any]]":
    """Those of the table that was, a row for each step, but the job's."""
    return [
        sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("loss", sa.Float),
        sa.Column("weight", sa.Float),
        sa.Column("learning_rate", sa.Float, nullable=False),
        sa.Column("gradient_norm", sa.Float, nullable=False),
        sa.Column("noise_scale", sa.Float),
        sa.Column("norm_test", sa.JSON),
        sa.Column("gradient_checksum", sa.String(64)),
        sa.Column("workers", sa.Integer, nullable=False),
        sa.Column("norms", sa.JSON, nullable=False),
        sa.Column("shortcuts", sa.JSON, nullable=False),
        sa.Column("phases", sa.JSON, nullable=False),
    ]


def _steps() -> sa.Table:
    return sa.Table("steps", sa.MetaData(), sa.Column(*_JOB, primary_key=True), *_columns())


def upgrade() -> None:
    """Apply; the steps of before are packed, a few at a time."""
    op.create_table(
        "step_blocks",
        _of_job(),
        sa.Column("last", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("kept", sa.Integer, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("due", sa.DateTime(timezone=True)),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("checksums", sa.LargeBinary),
    )
    op.create_index("ix_step_blocks_job_id_due", "step_blocks", ["job_id", "due"])
    connection, steps = op.get_bind(), _steps()
    after = ("", -1)
    while found := _page(connection, steps, after):
        for job_id, rows in groupby(found, key=lambda row: row["job_id"]):
            exact = _is_exact(connection, job_id)
            blocks.put(connection, job_id, [_step(row) for row in rows], exact=exact)
        after = (found[-1]["job_id"], found[-1]["step"])
    op.drop_table("steps")


def _is_exact(connection: sa.Connection, job_id: str) -> bool:
    """Whether figures keep their 53 bits: those of a float64 job."""
    jobs = sa.table("jobs", sa.column("id"), sa.column("spec", sa.JSON))
    spec = connection.execute(sa.select(jobs.c.spec).where(jobs.c.id == job_id)).scalar_one()
    return bool(spec.get("precision") == "float64")


def _page(
    connection: sa.Connection, steps: sa.Table, after: tuple[str, int]
) -> list[sa.RowMapping]:
    key = sa.tuple_(steps.c.job_id, steps.c.step)
    query = sa.select(steps).where(key > after).order_by(steps.c.job_id, steps.c.step).limit(MOST)
    return list(connection.execute(query).mappings())


def _step(row: sa.RowMapping) -> dict[str, Any]:
    return StepRow.model_validate({key: row[key] for key in row if key != "job_id"}).model_dump()


def downgrade() -> None:
    """Take back; rows that were thinned stay away."""
    steps = _steps()
    op.create_table(
        "steps",
        _of_job(),
        *_columns(),
    )
    connection = op.get_bind()
    for rows in _unpacked(connection):
        connection.execute(steps.insert(), rows)
    op.drop_table("step_blocks")


def _unpacked(connection: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    names = set(_steps().columns.keys())
    for job_id in connection.execute(sa.text("SELECT id FROM jobs")).scalars().all():
        for block in blocks.about(connection, job_id, -1):
            rows = blocks.rows_of(connection, job_id, block)
            named = [{key: row[key] for key in row if key in names} for row in rows]
            if named:
                yield [{"job_id": job_id, **row} for row in named]
