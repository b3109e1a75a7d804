"""The database's tables, on SQLite; PostgreSQL supports everything used here."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A timestamp: timezone-aware and in UTC, even if the database does not store the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert to UTC before the value is stored."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Add the zone, which SQLite does not store and which is always UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData()


def _of_job() -> Column[str]:
    return Column("job_id", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)


jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("reason", Text),
    Column("detail", Text),
    Column("queued_because", Text),
    Column("spec", JSON, nullable=False),
    Column("dataset_digest", String(80), nullable=False, index=True),
    Column("validation_digest", String(80), index=True),  # of another dataset to validate on
    Column("initial_parameters", String(80)),
    Column("code", String(80)),  # an uploaded zip file with a PyTorch task
    Column("request_id", String(64)),  # of the request that submitted the job
    Column("warnings", JSON, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_event", BigInteger, nullable=False),  # seq of the newest event
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    # The newest figures, repeated here so that a job is read from one row.
    Column("step", BigInteger, nullable=False),
    Column("steps_planned", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("figures", JSON, nullable=False, server_default="{}"),  # of the step, by name
    Column("validation_loss", Float),
    Column("validation_accuracy", Float),
    Column("validation_r2", Float),
    Column("validation_rmse", Float),
    Column("shortcuts", JSON, nullable=False),
    Column("workers", Integer),
    Column("threads", Integer),
    Column("executor", String(16)),
    Column("examples_per_second", Float),
    Column("parameters_digest", String(80)),  # of the kept parameters
    Column("parameters_step", BigInteger),  # the step after which they were kept
    Column("last_parameters_digest", String(80)),
    Column("best", JSON),  # the evaluation whose parameters are kept
    Column("lengthened_step", BigInteger),  # from which it trains further after its end
    # The newest message, step and evaluation that are stored, so that none is stored twice.
    # The first two have other names in the database, where migration 0006 named them.
    Column("heard_attempt", Integer, key="stored_attempt", nullable=False, server_default="0"),
    Column("heard_line", BigInteger, key="stored_line", nullable=False, server_default="0"),
    Column("recorded_step", BigInteger, nullable=False, server_default="0"),
    Column("evaluated_step", BigInteger, nullable=False, server_default="0"),
    Column("privacy", JSON(none_as_null=True)),  # a PrivateJob; null of a job without privacy
    Column("epsilon_spent", Float),  # of the newest step, at the end of all charged steps
)

job_labels = Table(
    "job_labels",
    metadata,
    _of_job(),
    Column("label", String(128), primary_key=True),
    Column("value", String(256), nullable=False),
    Index("ix_job_labels_label_value", "label", "value"),
)

events = Table(
    "events",
    metadata,
    _of_job(),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time", UtcDateTime, nullable=False),
    Column("type", String(32), nullable=False),
    Column("data", JSON, nullable=False),
)

step_blocks = Table(  # see blocks.py
    "step_blocks",
    metadata,
    _of_job(),
    Column("last", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("kept", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("due", UtcDateTime),
    Column("data", LargeBinary, nullable=False),
    Column("checksums", LargeBinary),
    Index("ix_step_blocks_job_id_due", "job_id", "due"),
)

step_curves = Table(  # see curves.py
    "step_curves",
    metadata,
    _of_job(),
    Column("upto", BigInteger, nullable=False),
    Column("width", BigInteger, nullable=False),
    Column("names", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _of_job(),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("time", UtcDateTime, nullable=False),
    Column("file", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("parameters_digest", String(80), nullable=False),
    Column("best", JSON),  # the evaluation whose parameters it also holds
)

datasets = Table(
    "datasets",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("digest", String(80), nullable=False, index=True),
    Column("examples", BigInteger, nullable=False),
    Column("input_shape", JSON, nullable=False),  # JSON's null without an array inputs
    Column("input_dtype", String(32)),
    Column("target_kind", String(16)),
    Column("classes", BigInteger),
    Column("weighted", Boolean, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("table", JSON),  # the columns of a table
    Column("arrays", JSON),  # null before migration 0017, until the service has looked
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("body_digest", String(80), nullable=False),
    Column("job_id", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Index("ix_idempotency_keys_job_id", "job_id"),
)

privacy_spending = Table(  # of private jobs, also after their deletion: what is told stays told
    "privacy_spending",
    metadata,
    Column("job_id", String(32), primary_key=True),
    Column("dataset_digest", String(80), primary_key=True, index=True),
    Column("epsilon", Float, nullable=False),
    Column("delta", Float, nullable=False),
    Column("reserved", Boolean, nullable=False),  # for planned steps, until the job has ended
)

privacy_budgets = Table(  # by content, so that a copy under another name has the same budget
    "privacy_budgets",
    metadata,
    Column("dataset_digest", String(80), primary_key=True),
    Column("epsilon", Float, nullable=False),
)

data_directory = Table(
    "data_directory",
    metadata,
    Column("id", String(32), primary_key=True),  # one row: the id in the directory's marker
)
