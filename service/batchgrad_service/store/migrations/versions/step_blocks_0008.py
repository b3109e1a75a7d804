# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Replace the table `steps` by `step_blocks`: step rows in packed blocks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from batchgrad_service.store.migrations.step_blocks_v1 import pack, unpack

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOST = 1000
"""Rows that are packed at a time."""

FIRST_STEPS = 1000
"""Steps whose blocks are never due for thinning."""

WHOLE = timedelta(hours=1)
"""The age of a block's newest row at which it is due."""

_JOB = ("job_id", sa.String(32))


def _of_job() -> "sa.Column[str]":
    return sa.Column(*_JOB, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)


def _columns() -> "list[sa.Column[Any]]":
    """The columns of the table `steps`, one row for each step, without the job's id."""
    return [
        sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
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
    """Apply; pack the steps, a few at a time."""
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
            _put(connection, job_id, [_step(row) for row in rows], exact=exact)
        after = (found[-1]["job_id"], found[-1]["step"])
    op.drop_table("steps")


def _blocks() -> sa.TableClause:
    names = ("job_id", "last", "first", "kept", "level")
    due = sa.column("due", sa.DateTime(timezone=True))
    return sa.table("step_blocks", *map(sa.column, names), due, sa.column("data", sa.LargeBinary))


def _put(
    connection: sa.Connection, job_id: str, rows: list[dict[str, Any]], *, exact: bool
) -> None:
    first = [row for row in rows if row["step"] <= FIRST_STEPS]
    for part in filter(None, (first, rows[len(first) :])):
        last = part[-1]["step"]
        block = {
            "job_id": job_id,
            "last": last,
            "first": part[0]["step"],
            "kept": len(part),
            "level": 0,
            "due": None if last <= FIRST_STEPS else part[-1]["time"] + WHOLE,
            "data": pack(part, exact=exact),
        }
        connection.execute(_blocks().insert().values(**block))


def _is_exact(connection: sa.Connection, job_id: str) -> bool:
    """Whether all figures are stored as float64: those of a float64 job are."""
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
    """Return a row as it was, with an aware time: SQLite does not store the zone, always UTC."""
    time: datetime = row["time"]
    aware = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return {str(key): row[key] for key in row if key != "job_id"} | {"time": aware}


def downgrade() -> None:
    """Revert; thinned rows are lost."""
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
    table = _blocks()
    keys = sa.select(table.c.job_id, table.c.last).where(table.c.kept > 0)
    for job_id, last in connection.execute(keys).all():
        block = sa.select(table.c.data).where(table.c.job_id == job_id, table.c.last == last)
        rows = unpack(connection.execute(block).scalar_one())
        named = [{key: row[key] for key in row if key in names} for row in rows]
        yield [{"job_id": job_id, **row} for row in named]
