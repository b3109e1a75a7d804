"""Between rows and what the rest of the service speaks of."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, RowMapping, insert, select, update
from sqlalchemy.engine import Result

from batchgrad.contract import Checkpoint, Dataset, Event, EventType, Job, JobSpec
from batchgrad_service.problems import InvalidError, NotFoundError
from batchgrad_service.store import schema

PutOutcome = Literal["created", "same", "replaced", "conflict"]


@dataclass(frozen=True)
class JobInputs:
    """What an engine needs to start an attempt. Digests are "sha256:…"."""

    spec: JobSpec
    dataset_digest: str
    initial_parameters: str | None
    request_id: str | None
    attempt: int


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint with its file's name in the job's directory."""

    checkpoint: Checkpoint
    file: str


def job_of(row: RowMapping) -> Job:
    """A row of `jobs` as the API shows it."""
    return Job.model_validate({**row, "labels": row["spec"].get("labels", {})})


def event_of(row: RowMapping) -> Event:
    """A row of `events`."""
    return Event.model_validate(dict(row))


def dataset_of(row: RowMapping) -> Dataset:
    """A row of `datasets`."""
    return Dataset.model_validate(dict(row))


def checkpoint_of(row: RowMapping) -> StoredCheckpoint:
    """A row of `checkpoints`."""
    return StoredCheckpoint(checkpoint=Checkpoint.model_validate(dict(row)), file=row["file"])


def job_row(connection: Connection, job_id: str) -> RowMapping:
    """The row of one job; NotFoundError when there is none."""
    found: Result[Any] = connection.execute(select(schema.jobs).where(schema.jobs.c.id == job_id))
    row: Row[Any] | None = found.first()
    if row is None:
        raise no_job(job_id)
    return row._mapping  # noqa: SLF001 - SQLAlchemy's documented name for it


def no_job(job_id: str) -> NotFoundError:
    """The problem to raise for an unknown job."""
    return NotFoundError(
        f"There is no job {job_id!r}; GET /v1/jobs lists those there are.", code="job_not_found"
    )


def append_event(
    connection: Connection, job_id: str, kind: EventType, data: dict[str, Any], time: Any
) -> None:
    """Add an event under the job's next number: no gap, no number twice."""
    seq = connection.execute(
        update(schema.jobs)
        .where(schema.jobs.c.id == job_id)
        .values(last_event=schema.jobs.c.last_event + 1)
        .returning(schema.jobs.c.last_event)
    ).scalar_one()
    connection.execute(
        insert(schema.events).values(job_id=job_id, seq=seq, time=time, type=kind, data=data)
    )


def to_cursor(key: str) -> str:
    """An opaque cursor for the item whose key this is."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def from_cursor(cursor: str) -> str:
    """The key inside a cursor; InvalidError when the service cannot have made it."""
    try:
        return base64.b64decode(
            cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, ValueError):
        raise InvalidError(
            f"after is {cursor!r}: pass the `next` of the page before, unchanged.",
            code="invalid_cursor",
        ) from None
