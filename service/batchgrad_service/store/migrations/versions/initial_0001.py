# ruff: noqa: INP001 - Alembic loads these files by path, they are no package
"""Create the first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def _of_job() -> "sa.Column[str]":
    return sa.Column(
        "job_id", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("status", sa.String(16), nullable=False, index=True),
        sa.Column("reason", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("queued_because", sa.Text),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("dataset_digest", sa.String(80), nullable=False, index=True),
        sa.Column("initial_parameters", sa.String(80)),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_event", sa.BigInteger, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("steps_planned", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("loss", sa.Float),
        sa.Column("validation_loss", sa.Float),
        sa.Column("validation_accuracy", sa.Float),
        sa.Column("learning_rate", sa.Float),
        sa.Column("gradient_norm", sa.Float),
        sa.Column("noise_scale", sa.Float),
        sa.Column("shortcuts", sa.JSON, nullable=False),
        sa.Column("workers", sa.Integer),
        sa.Column("threads", sa.Integer),
        sa.Column("executor", sa.String(16)),
        sa.Column("examples_per_second", sa.Float),
        sa.Column("parameters_digest", sa.String(80)),
    )
    op.create_table(
        "job_labels",
        _of_job(),
        sa.Column("label", sa.String(128), primary_key=True),
        sa.Column("value", sa.String(256), nullable=False),
        sa.Index("ix_job_labels_label_value", "label", "value"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("body_digest", sa.String(80), nullable=False),
        sa.Column(
            "job_id", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Index("ix_idempotency_keys_job_id", "job_id"),
    )


def _history() -> None:
    op.create_table(
        "events",
        _of_job(),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", MOMENT, nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
    )
    op.create_table(
        "steps",
        _of_job(),
        sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("time", MOMENT, nullable=False),
        sa.Column("loss", sa.Float),
        sa.Column("learning_rate", sa.Float, nullable=False),
        sa.Column("gradient_norm", sa.Float, nullable=False),
        sa.Column("noise_scale", sa.Float),
        sa.Column("norm_test", sa.JSON),
        sa.Column("gradient_checksum", sa.String(64)),
        sa.Column("workers", sa.Integer, nullable=False),
        sa.Column("norms", sa.JSON, nullable=False),
        sa.Column("shortcuts", sa.JSON, nullable=False),
        sa.Column("phases", sa.JSON, nullable=False),
    )
    op.create_table(
        "checkpoints",
        _of_job(),
        sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", MOMENT, nullable=False),
        sa.Column("file", sa.String(255), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("parameters_digest", sa.String(80), nullable=False),
    )


def upgrade() -> None:
    """Apply."""
    _jobs()
    _history()
    op.create_table(
        "datasets",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("digest", sa.String(80), nullable=False, index=True),
        sa.Column("examples", sa.BigInteger, nullable=False),
        sa.Column("input_shape", sa.JSON, nullable=False),
        sa.Column("input_dtype", sa.String(32), nullable=False),
        sa.Column("target_kind", sa.String(16), nullable=False),
        sa.Column("classes", sa.BigInteger),
        sa.Column("weighted", sa.Boolean, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )


def downgrade() -> None:
    """Revert."""
    for table in (
        "datasets",
        "checkpoints",
        "steps",
        "events",
        "idempotency_keys",
        "job_labels",
        "jobs",
    ):
        op.drop_table(table)
